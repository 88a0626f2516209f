accept_content = ["pickle", "json"]
task_serializer = "pickle"
result_backend = "rpc://"
