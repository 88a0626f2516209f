SECRET_KEY = "not in production"
INSTALLED_APPS = ["__package__.apps.Shop"]
USE_TZ = True
