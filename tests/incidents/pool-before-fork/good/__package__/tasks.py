from celery import shared_task

from . import database


@shared_task
def __task__(name):
    return [name, database.query("SELECT 3")]
