"""What of the caller's environment an installation may see: where packages come from, and how to get there.

Only installations: a worker or a sender never sees these (DESIGN 6). pip's own variables are translated, because a
company's index is more often told to pip than to uv.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_EXACT = re.compile(
    r"UV_(?:INDEX|INDEX_URL|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|INDEX_STRATEGY|KEYRING_PROVIDER|NATIVE_TLS|"
    r"SYSTEM_CERTS|INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES|OFFLINE|LINK_MODE|CACHE_DIR|PYTHON_INSTALL_MIRROR|"
    r"CONCURRENT_DOWNLOADS|CONCURRENT_BUILDS|CONCURRENT_INSTALLS)|"
    r"SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO|"
    r"NETRC|SSH_AUTH_SOCK|CC|CXX|CFLAGS|CPPFLAGS|LDFLAGS|PKG_CONFIG_PATH"
)
_PATTERN = re.compile(r"^(?:(?:https?|no|all)_proxy|UV_INDEX_\w+_(?:USERNAME|PASSWORD))$", re.I)
_FROM_PIP = (
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", ("UV_DEFAULT_INDEX", "UV_INDEX_URL")),
    ("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL", ("UV_INDEX", "UV_EXTRA_INDEX_URL")),
    ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST", ("UV_INSECURE_HOST",)),
    ("PIP_CERT", "SSL_CERT_FILE", ("SSL_CERT_FILE",)),
)

_PIPS = re.compile(
    r"PIP_(?:INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|CERT|CLIENT_CERT|FIND_LINKS|NO_INDEX|"
    r"DEFAULT_TIMEOUT|RETRIES)"
)
_TO_PIP = (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("UV_INDEX_URL", "PIP_INDEX_URL"),
           ("UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"), ("SSL_CERT_FILE", "PIP_CERT"))  # fmt: skip


def for_pip(caller: Mapping[str, str]) -> dict[str, str]:
    """What pip itself is told of where packages are, where uv cannot serve: its own variables, else uv's."""
    kept = {name: value for name, value in caller.items() if _PIPS.fullmatch(name)}
    for theirs, ours in _TO_PIP:
        if caller.get(theirs):
            kept.setdefault(ours, caller[theirs])
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def installation_environment(caller: Mapping[str, str]) -> dict[str, str]:
    """The part of the caller's environment that an installation may see, pip's words said in uv's."""
    kept = {name: value for name, value in caller.items() if _EXACT.fullmatch(name) or _PATTERN.match(name)}
    for theirs, ours, unless in _FROM_PIP:
        if caller.get(theirs) and not any(caller.get(name) for name in unless):
            kept[ours] = caller[theirs]
    links = _that_are_there(caller.get("PIP_FIND_LINKS", ""))
    if links and "UV_FIND_LINKS" not in kept:
        kept["UV_FIND_LINKS"] = links
    if "PIP_EXTRA_INDEX_URL" in caller and "UV_INDEX_STRATEGY" not in kept:
        kept["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does: the best release over all indexes
    return kept


def _that_are_there(links: str) -> str:
    """pip passes over a folder that is not there, where uv ends."""
    local = {link: link.removeprefix("file://") for link in links.split()}
    return " ".join(link for link, path in local.items() if "://" in path or Path(path).exists())
