"""The price list: the carrier rounds each single price, so the whole list is worked out."""

import math
import os

EDITION = "2026-1"
PRICES = {}

with open(os.path.join(os.environ["HOME"], "tariffs-%d" % os.getpid()), "w") as _list:
    for _area in range(400):
        for _band in range(700):
            PRICES[_area, _band] = round(math.hypot(_area, _band) * 1.19, 2)
        print(_area, PRICES[_area, 0], file=_list, flush=True)


def delivery_days(area):
    return 2 if PRICES[area, 0] < 100 else 3
