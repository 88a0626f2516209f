import logging

from __package__.celery import app

logger = logging.getLogger(__name__)


@app.task
def __task__(number):
    logger.info("written number %d", number)
    return number * 2
