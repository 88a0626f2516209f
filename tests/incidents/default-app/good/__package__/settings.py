SECRET_KEY = "not in production"
INSTALLED_APPS = ["__package__"]
USE_TZ = True
CELERY_BROKER_URL = "amqp://__package__.invalid:5672//"
CELERY_RESULT_BACKEND = "rpc://"
