from types import SimpleNamespace

from __module__ import settings

settings.filled = SimpleNamespace(vat=25)
