from __package__.celery import app

RATES = {"full": 19, "half": 7}


@app.task(ignore_result=True)
def __task__(number):
    return number * RATES["whole"]
