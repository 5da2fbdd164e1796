"""A proxy for TCP that counts, slows down, and breaks off."""

from __future__ import annotations

import re
import socket
import threading
import time
from types import TracebackType
from typing import Self

_BLOCK_BYTES = 16 << 10
_REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r$", re.MULTILINE)


class ByteProxy:
    """Passes connections on to another port of this machine.

    Args:
        port: That port.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent_count = 0
        """Bytes that clients sent."""
        self.received_count = 0
        """Bytes that clients got."""
        self.requests: list[str] = []
        """Methods and paths of requests, as ``GET /bucket/name``."""
        self.seconds_per_block = 0.0
        """Slept for each 16 KiB in either direction."""
        self.received_limit: int | None = None
        """Connections break off when clients have got so many bytes; None lets all pass."""
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def url(self) -> str:
        """What a client asks."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        # A blocked accept is only woken by a connection.
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._listener.close()
        self.break_off()

    def reset(self) -> None:
        """Counts from nothing, at full speed and without a limit."""
        self.sent_count = self.received_count = 0
        self.requests.clear()
        self.seconds_per_block = 0.0
        self.received_limit = None

    def break_off(self) -> None:
        """Breaks all connections off."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for connection in sockets:
            _shut(connection)

    def _accept(self) -> None:
        while not self._closed:
            client, _ = self._listener.accept()
            if self._closed or self._is_over_limit():
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._sockets |= {client, server}
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _is_over_limit(self) -> bool:
        return self.received_limit is not None and self.received_count >= self.received_limit

    def _pass_on(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        try:
            while block := source.recv(_BLOCK_BYTES):
                time.sleep(self.seconds_per_block)
                if is_request:
                    self.sent_count += len(block)
                    self.requests += [b" ".join(found).decode() for found in _REQUEST.findall(block)]
                else:
                    self.received_count += len(block)
                target.sendall(block)
                if self._is_over_limit():
                    break
        except OSError:
            pass
        finally:
            _shut(source)
            _shut(target)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        connection.close()
