"""The HTTP server of the REST port: a few threads, one request each, then the connection is closed."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from model_server.rest import RestAnswer
from twostage.rpc.address import AddressUnavailable, join_address

Answer = Callable[[str, str], RestAnswer]
_LOG = logging.getLogger(__name__)
_LARGEST_BODY_BYTES = 1 << 20


class HttpEndpoint:
    """Serves an answer function over HTTP from the moment it is made.

    Args:
        answer: Gets the method and the path, without a query; must not raise.
        host: The address to listen on.
        port: The port.
        thread_count: Requests at the same time; further connections wait.
        timeout_seconds: How long a client may take to send its request, or to read the answer.

    Raises:
        AddressUnavailable: The address cannot be listened on.
    """

    def __init__(self, answer: Answer, host: str, port: int, *, thread_count: int, timeout_seconds: float) -> None:
        handler = type("Handler", (_Handler,), {"answer": staticmethod(answer), "timeout": timeout_seconds})
        server = _ServerV6 if ":" in host else _Server
        try:
            self._server = server((host.strip("[]"), port), handler, thread_count)
        except OSError as error:
            raise AddressUnavailable(join_address(host, port), "REST", error.strerror or str(error)) from error
        self.address = join_address(host, self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="rest", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening; answers that are being written are let finish."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(HTTPServer):
    # Probes and scrapers of a busy machine may come in a crowd.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], thread_count: int) -> None:
        # First, because a failure to bind closes everything.
        self._pool = ThreadPoolExecutor(thread_count, thread_name_prefix="rest")
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for the host's name, which nothing here needs and which may be slow.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._pool.submit(self._answer, request, client_address)

    def server_close(self) -> None:
        super().server_close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the client has hung up
        except Exception:  # noqa: BLE001  - a bug; the thread pool would keep it to itself
            _LOG.exception("a REST request failed unexpectedly")
        finally:
            self.shutdown_request(request)


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    answer: Answer

    def version_string(self) -> str:
        return "twostage-model-server"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  - the name is the standard library's
        """Logs nothing: a probe is no event."""

    def _respond(self) -> None:
        answer = self.answer(self.command, self.path.partition("?")[0])
        # A connection that is closed before its body was read is reset, and the answer may be lost on the way.
        length = self.headers.get("Content-Length", "0")
        # Cut, because Python reads no number of thousands of digits.
        self.rfile.read(min(int(length[:20]), _LARGEST_BODY_BYTES) if length.isdecimal() else 0)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = _respond  # noqa: N815
