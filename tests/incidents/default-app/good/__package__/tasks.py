from celery import shared_task


@shared_task
def __task__(number):
    return number * 2
