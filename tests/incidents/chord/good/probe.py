from celery import chord


def send(app):
    part, report = app.tasks["__app__.__task__"], app.tasks["__app__.report"]
    return chord([part.s(number) for number in range(3)])(report.s())
