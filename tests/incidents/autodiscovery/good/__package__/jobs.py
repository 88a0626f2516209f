from celery import shared_task


@shared_task(name="__package__.jobs.__task__")
def __task__(number):
    return number * 2
