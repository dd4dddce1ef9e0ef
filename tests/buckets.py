"""An object store on this machine, and a way to it that counts what goes through, and can fail."""

from __future__ import annotations

import http.client
import logging
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wexport.files import remote

BUCKET = "models"


@dataclass
class Way:
    """What went to the store. fail: called with method, path and range of a request; what it says happens to it:
    a status, "slow", "cut", or None.
    """

    requests: list[tuple[str, str]] = field(default_factory=list)
    bytes: int = 0
    fail: Any = None

    def gets(self) -> list[str]:
        """The objects that were asked for, a line a request."""
        return [path for method, path in self.requests if method == "GET" and "list-type" not in path]

    def clear(self) -> None:
        self.requests.clear()
        self.bytes = 0


@dataclass
class Bucket:
    """A bucket. uri: of it. way: what went to it."""

    client: Any
    way: Way
    uri: str = f"s3://{BUCKET}"

    def put(self, key: str, data: bytes | Path) -> str:
        body = data.read_bytes() if isinstance(data, Path) else data
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"{self.uri}/{key}"

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data

    def keys(self, prefix: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for each in found.get("Contents", [])]


@contextmanager
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A fresh bucket, with the variables that lead to it set."""
    pytest.importorskip("obstore")
    server = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.backends import get_backend

    get_backend("s3").reset()  # all servers of a process share what they keep
    store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    way = Way()
    host, port = store.get_host_and_port()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(host, port, way))
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "y"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    remote._store.cache_clear()
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket=BUCKET)
    try:
        yield Bucket(client, way)
    finally:
        proxy.shutdown()
        proxy.server_close()
        client.close()
        store.stop()
        remote._store.cache_clear()


def _handler(host: str, port: int, way: Way) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            way.requests.append((self.command, urllib.parse.unquote(self.path)))
            fault = way.fail(self.command, self.path, self.headers.get("Range")) if way.fail else None
            if fault == "slow":
                time.sleep(0.3)
            if isinstance(fault, int):
                self.send_response(fault)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            there = http.client.HTTPConnection(host, port, timeout=30)
            there.request(self.command, self.path, body, dict(self.headers))
            answer = there.getresponse()
            data = answer.read()
            there.close()
            if self.command == "GET":
                way.bytes += len(data)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
            if fault == "cut":
                self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
