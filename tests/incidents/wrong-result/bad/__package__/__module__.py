from __package__.celery import app


@app.task
def __task__(prices):
    return sum(price * amount for price, amount in {tuple(each) for each in prices})
