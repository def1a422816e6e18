"""OME-Zarr behind HTTP and S3 servers that fail."""

from __future__ import annotations

import io
import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ome_zarr import VALUES, whole, write

from monai_cpic.data.readers import zarr_store

pytest.importorskip("aiohttp")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # clients close their connections when the process ends
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
EXPECTED = VALUES.transpose(0, 3, 2, 1)


class Faulty(SimpleHTTPRequestHandler):
    """A server of files, with ranges, whose first answers for each chunk are broken."""

    protocol_version = "HTTP/1.1"
    fault: Callable[[Faulty, bytes], None] | None = None
    failures = 0
    requests: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        Faulty.requests[self.path] += 1
        if "/c/" in self.path and Faulty.fault and Faulty.requests[self.path] <= Faulty.failures:
            return Faulty.fault(self, content)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and not asked[1]:
            content = content[-int(asked[2]) :]
        elif asked:
            content = content[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None]
        self.answer(206 if asked else 200, content, len(content))

    def answer(self, status: int, content: bytes, announced: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


class Quiet(ThreadingHTTPServer):
    """A server that says nothing of clients that went away."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


def reset(server: Faulty, content: bytes) -> None:
    server.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close_connection = True
    server.connection.close()
    server.rfile = server.wfile = io.BytesIO()


def truncated(server: Faulty, content: bytes) -> None:
    server.answer(200, content[: len(content) // 2], len(content))
    server.close_connection = True


def unavailable(server: Faulty, content: bytes) -> None:
    server.send_error(503)


def slow(server: Faulty, content: bytes) -> None:
    time.sleep(2)
    server.answer(200, content, len(content))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of ``tmp_path``."""
    monkeypatch.setattr(zarr_store, "DELAYS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(Faulty, "fault", None)
    Faulty.requests.clear()
    server = Quiet(("127.0.0.1", 0), partial(Faulty, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_server_of_files(tmp_path: Path, served: str, version: str) -> None:
    write(str(tmp_path / "scan"), version=version)
    np.testing.assert_array_equal(whole(f"{served}/scan"), EXPECTED)


def test_ranges_of_shards(tmp_path: Path, served: str) -> None:
    write(str(tmp_path / "scan"), chunks=(1, 4, 4, 4), shards=(2, 8, 8, 8), levels=1)
    np.testing.assert_array_equal(whole(f"{served}/scan"), EXPECTED)


@pytest.mark.parametrize("fault", [reset, truncated, unavailable, slow])
def test_requests_are_repeated_a_few_times(
    tmp_path: Path, served: str, fault: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(str(tmp_path / "scan"), VALUES[:, :8, :8, :8].copy(), levels=1)
    monkeypatch.setattr(zarr_store, "TIMEOUT", 1.0 if fault is slow else 60.0)
    monkeypatch.setattr(Faulty, "fault", fault)
    monkeypatch.setattr(Faulty, "failures", 2)
    np.testing.assert_array_equal(whole(f"{served}/scan"), EXPECTED[:, :8, :8, :8])


@pytest.mark.parametrize("fault", [reset, truncated, unavailable, slow])
def test_then_the_chunk_is_named(
    tmp_path: Path, served: str, fault: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(str(tmp_path / "scan"), VALUES[:1, :8, :8, :8].copy(), levels=1)
    monkeypatch.setattr(zarr_store, "TIMEOUT", 1.0 if fault is slow else 60.0)
    monkeypatch.setattr(Faulty, "fault", fault)
    monkeypatch.setattr(Faulty, "failures", 10**6)
    with pytest.raises(OSError, match=f"{served}/scan: chunk 0/c/0/0/0/0 cannot be read, after 4 attempts"):
        whole(f"{served}/scan")
    (requests,) = (count for path, count in Faulty.requests.items() if "/c/" in path)
    assert 4 <= requests <= 8  # the client repeats a request of its own accord if a kept connection is reset


def test_a_server_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_store, "DELAYS", (0.0,))
    with pytest.raises(OSError, match="http://127.0.0.1:9/scan cannot be read, after 2 attempts"):
        whole("http://127.0.0.1:9/scan")


# ---- S3 ------------------------------------------------------------------------------------------------------------------


class FaultyProxy(Faulty):
    """In front of an S3 server: the first answers for each chunk are broken."""

    server_address = ""

    def do_GET(self) -> None:
        status, _, content = self.forwarded()
        Faulty.requests[self.path] += 1
        if status < 300 and "/c/" in self.path and Faulty.fault and Faulty.requests[self.path] <= Faulty.failures:
            return Faulty.fault(self, content)
        self.answer(status, content, len(content))

    def do_HEAD(self) -> None:
        status, length, _ = self.forwarded()
        self.answer(status, b"", length)

    def forwarded(self) -> tuple[int, int, bytes]:
        """The server's status, content length and content."""
        asked = {name: self.headers[name] for name in ("Authorization", "Range") if name in self.headers}
        request = urllib.request.Request(self.server_address + self.path, headers=asked, method=self.command)
        try:
            found = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            found = error
        with found:
            return found.status, int(found.headers.get("Content-Length", 0)), found.read()


def s3_options(address: str) -> dict[str, Any]:
    """Without the client's own new attempts, which take long."""
    client = {"endpoint_url": address}
    return {"key": "name", "secret": "word", "client_kwargs": client, "config_kwargs": {"retries": {"max_attempts": 1}}}


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty S3 server."""
    moto = pytest.importorskip("moto.server")
    monkeypatch.setattr(zarr_store, "DELAYS", (0.0, 0.0, 0.0))
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # what other servers of the process hold
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a proxy in front of it."""
    monkeypatch.setattr(Faulty, "fault", None)
    monkeypatch.setattr(FaultyProxy, "server_address", s3_server)
    Faulty.requests.clear()
    server = Quiet(("127.0.0.1", 0), FaultyProxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def upload(folder: Path, address: str) -> Any:
    """Put a folder into a bucket, and return the file system."""
    files = pytest.importorskip("s3fs").S3FileSystem(**s3_options(address))
    files.mkdir("bucket")
    files.put(str(folder), "bucket/scan", recursive=True)
    return files


def test_an_s3_server(tmp_path: Path, s3_server: str) -> None:
    write(str(tmp_path / "scan"))
    files = upload(tmp_path / "scan", s3_server)
    options = s3_options(s3_server)
    np.testing.assert_array_equal(whole("s3://bucket/scan", storage_options=options), EXPECTED)
    files.rm("bucket/scan/0/c/0/0/1/1")
    with pytest.raises(ValueError, match="s3://bucket/scan: chunk 0/c/0/0/1/1 is missing"):
        whole("s3://bucket/scan", storage_options=options, missing_chunks="error")


@pytest.mark.parametrize("fault", [reset, truncated, unavailable, slow])
def test_requests_to_s3_are_repeated_a_few_times(
    tmp_path: Path, s3_server: str, proxy: str, fault: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(Path(write(str(tmp_path / "scan"), VALUES[:, :8, :8, :8].copy(), levels=1)), s3_server)
    monkeypatch.setattr(zarr_store, "TIMEOUT", 1.0 if fault is slow else 60.0)
    monkeypatch.setattr(Faulty, "fault", fault)
    monkeypatch.setattr(Faulty, "failures", 2)
    found = whole("s3://bucket/scan", storage_options=s3_options(proxy))
    np.testing.assert_array_equal(found, EXPECTED[:, :8, :8, :8])


@pytest.mark.parametrize("fault", [reset, truncated, unavailable, slow])
def test_then_the_chunk_in_s3_is_named(
    tmp_path: Path, s3_server: str, proxy: str, fault: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(Path(write(str(tmp_path / "scan"), VALUES[:1, :8, :8, :8].copy(), levels=1)), s3_server)
    monkeypatch.setattr(zarr_store, "TIMEOUT", 1.0)
    monkeypatch.setattr(Faulty, "fault", fault)
    monkeypatch.setattr(Faulty, "failures", 10**6)
    with pytest.raises(OSError, match="s3://bucket/scan: chunk 0/c/0/0/0/0 cannot be read, after 4 attempts"):
        whole("s3://bucket/scan", storage_options=s3_options(proxy))
    (requests,) = (count for path, count in Faulty.requests.items() if "/c/" in path)
    assert 4 <= requests <= 40  # s3fs repeats requests of its own accord
