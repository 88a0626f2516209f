"""What production's broker has from before: the queue as it was first declared."""

import os

from kombu import Connection, Exchange, Queue

MAIL = "__app__mail"

with Connection(os.environ["CELERY_BROKER_URL"]) as connection:
    Queue(MAIL, Exchange(MAIL), routing_key=MAIL).bind(connection.default_channel).declare()
