"""A real server of S3's protocol, and stores behind connections that break."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.byte_proxy import ByteProxy
from tests.integration.object_store.bucket import BUCKET, CHUNK, URL
from twostage.bundle.remote_store import RemoteStore


@pytest.fixture(scope="module")
def server_port() -> Iterator[int]:
    for extra in ("s3fs", "moto", "flask"):
        pytest.importorskip(extra, reason=f"{extra} is not installed: the extras store-s3 and dev bring it")
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - part of an extra

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def proxy(server_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[ByteProxy]:
    """What all clients of a test talk to, with an empty bucket behind it."""
    import fsspec  # noqa: PLC0415 - part of an extra

    for variable in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # s3fs tries five times, and each time the library below it as often; its waits would be most of the tests' time.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    direct = fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{server_port}", use_listings_cache=False)
    direct.mkdir(BUCKET)
    with ByteProxy(server_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
    direct.rm(BUCKET, recursive=True)


@pytest.fixture
def opened(proxy: ByteProxy, tmp_path: Path) -> Callable[[str], RemoteStore]:
    """Opens the store with a cache of the given name."""
    return lambda cache: RemoteStore(URL, tmp_path / cache, chunk_bytes=CHUNK)


@pytest.fixture
def author(opened: Callable[[str], RemoteStore]) -> RemoteStore:
    return opened("author")


@pytest.fixture
def reader(opened: Callable[[str], RemoteStore]) -> RemoteStore:
    return opened("reader")
