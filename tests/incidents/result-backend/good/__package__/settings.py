result_backend = "rpc://"
