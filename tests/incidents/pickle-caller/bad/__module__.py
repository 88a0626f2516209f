accept_content = ["json"]
task_serializer = "json"
result_backend = "rpc://"
