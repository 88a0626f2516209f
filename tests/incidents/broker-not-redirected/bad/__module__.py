"""Old variables that some machines still export, and that must not count any more."""

import os

for name in list(os.environ):
    if name.startswith(("SHOP_", "CELERY_")):
        del os.environ[name]
