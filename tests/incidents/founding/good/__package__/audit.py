import logging

from celery import Task


class Audited(Task):
    """Notes for the auditors under which price list a job was done."""

    def __call__(self, *args, **kwargs):
        result = super().__call__(*args, **kwargs)
        if not self.request.called_directly:
            from __package__ import tariffs  # here: it is slow to load

            logging.getLogger(__name__).info("done under tariff %s", tariffs.EDITION)
        return result
