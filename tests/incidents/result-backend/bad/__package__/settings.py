result_backend = "cache+memory://"
