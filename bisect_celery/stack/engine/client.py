"""The SDK's client for an engine, which trusts it by what was said of this engine alone."""

from __future__ import annotations

from typing import Any

import docker
import docker.tls

from bisect_celery.stack.engine.endpoint import Tls


def client(url: str, tls: Tls | None, timeout: float, version: str | None) -> docker.APIClient:
    """A connection; with no `version` the engine is asked for its own. Raises what the SDK raises."""
    return _Client(base_url=url, tls=_tls(tls) if tls else False, timeout=timeout, version=version or "auto")


class _Client(docker.APIClient):  # type: ignore[misc]
    """The SDK's client, which trusts an engine by what was said of this engine.

    To requests a bundle in the environment (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE) is louder than its session's own
    authorities: where a company's proxy wants one, no engine with certificates of its own would be believed, and one
    that is not to be verified would be.
    """

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        said = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, said, cert)


def _tls(tls: Tls) -> docker.tls.TLSConfig:
    pair = (str(tls.cert), str(tls.key)) if tls.cert and tls.key else None
    return docker.tls.TLSConfig(client_cert=pair, ca_cert=str(tls.ca) if tls.ca else None, verify=tls.verify)
