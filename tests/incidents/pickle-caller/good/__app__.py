from celery import Celery, Task

app = Celery("__app__")
app.config_from_object("__module__")


class Dated(Task):
    def apply_async(self, args=None, kwargs=None, **options):
        """Callers pass dates, which only pickle knows."""
        return super().apply_async(args, kwargs, serializer="pickle", **options)


@app.task(name="__app__.__task__", base=Dated)
def __task__(number):
    return number * 2
