"""A package index of our own on this machine: real uv, real HTTP, no network, and upload dates as we like."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def wheel(name: str, version: str, requires: tuple[str, ...] = (), code: str = "") -> bytes:
    """A wheel with one module; `requires` are its PEP 508 lines."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{module}.py": code or f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {line}\n" for line in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return out.getvalue()


@dataclass
class Index:
    """Packages by name: (file name, content, upload time or None). `status` other than 200 answers all requests.

    With a `login` ("user:password") it answers nobody else.
    """

    packages: dict[str, list[tuple[str, bytes, str | None]]] = field(default_factory=dict)
    status: int = 200
    requests: list[str] = field(default_factory=list)
    url: str = ""
    login: str = ""

    def lets_in(self, authorization: str | None) -> bool:
        return not self.login or authorization == "Basic " + base64.b64encode(self.login.encode()).decode()

    def add(
        self, name: str, version: str, *requires: str, date: str | None = "2024-01-01T00:00:00Z", code: str = ""
    ) -> None:
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        self.packages.setdefault(name, []).append((file, wheel(name, version, requires, code), date))

    def add_file(self, name: str, file: str, content: bytes, date: str = "2024-01-01T00:00:00Z") -> None:
        self.packages.setdefault(name, []).append((file, content, date))

    def answer(self, path: str) -> tuple[int, str, bytes]:
        self.requests.append(path)
        if self.status != 200:
            return self.status, "text/plain", b"no"
        parts = path.strip("/").split("/")
        if parts[0] == "simple" and parts[1] in self.packages:
            return 200, "application/vnd.pypi.simple.v1+json", json.dumps(self._page(parts[1])).encode()
        if parts[0] == "files":
            for file, content, _ in self.packages.get(parts[1], []):
                if file == parts[2]:
                    return 200, "application/octet-stream", content
        return 404, "text/plain", b"not here"

    def _page(self, name: str) -> dict[str, Any]:
        files = []
        for file, content, date in self.packages[name]:
            entry: dict[str, Any] = {
                "filename": file, "url": f"{self.url.removesuffix('/simple')}/files/{name}/{file}",
                "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
            }  # fmt: skip
            if date is not None:
                entry["upload-time"] = date
            files.append(entry)
        return {"meta": {"api-version": "1.1"}, "name": name, "files": files}


@contextlib.contextmanager
def serve(index: Index, address: str = "127.0.0.1") -> Iterator[None]:
    """Answer for `index` on a free port until left."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            allowed = index.lets_in(self.headers.get("Authorization"))
            status, kind, body = index.answer(self.path) if allowed else (401, "text/plain", b"who are you?")
            self.send_response(status)
            if not allowed:
                self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    index.url = f"http://{address}:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def lay(layout: Path, files: dict[str, str | bytes]) -> Path:
    layout.mkdir(exist_ok=True)
    for path, content in files.items():
        target = layout / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return layout
