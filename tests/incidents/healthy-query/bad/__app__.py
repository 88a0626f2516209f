import sqlite3

from celery import Celery

app = Celery("__app__", backend="rpc://")
ROWS = 900000
TURNOVER = """
WITH RECURSIVE sale(day, amount) AS (
    VALUES (1, 7)
    UNION ALL
    SELECT day + 1, (amount * 31 + day) % 1009 FROM sale WHERE day < ?
)
SELECT sum(amount) FROM sale
"""


@app.task(name="__app__.__task__")
def __task__(what):
    with sqlite3.connect(":memory:") as connection:
        return {what: connection.execute(TURNOVER, (ROWS,)).fetchone()[0]}
