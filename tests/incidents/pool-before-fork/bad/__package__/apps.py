from django.apps import AppConfig


class Shop(AppConfig):
    name = "__package__"

    def ready(self):
        from . import database

        database.query("SELECT 1")
