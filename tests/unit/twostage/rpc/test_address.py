from __future__ import annotations

import socket
import sys

import pytest

from twostage.rpc.address import AddressUnavailable, require_free, reserve


def sharing(port: int) -> socket.socket:
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.bind(("127.0.0.1", port))
    return other


@pytest.mark.skipif(sys.platform != "linux", reason="sharing a port differs elsewhere")
def test_a_reserved_port_is_refused_to_strangers_and_given_to_those_who_share_it() -> None:
    with reserve("127.0.0.1", 0, "echo") as reserved:
        port = int(reserved.getsockname()[1])
        with pytest.raises(AddressUnavailable, match="in use"):
            require_free("127.0.0.1", port, "echo")
        with pytest.raises(AddressUnavailable, match=rf"cannot listen on 127\.0\.0\.1:{port} for other: .*in use"):
            reserve("127.0.0.1", port, "other")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        with sharing(port) as first, sharing(port) as second:
            first.listen()
            second.listen()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
    require_free("127.0.0.1", port, "echo")


@pytest.mark.skipif(sys.platform != "linux", reason="sharing a port differs elsewhere")
def test_a_port_that_others_share_already_is_not_reserved() -> None:
    with sharing(0) as other:
        other.listen()
        with pytest.raises(AddressUnavailable, match="in use"):
            reserve("127.0.0.1", int(other.getsockname()[1]), "echo")


def test_a_host_that_is_not_ours_is_told_by_its_address() -> None:
    with pytest.raises(AddressUnavailable, match=r"cannot listen on 192\.0\.2\.1:50051 for retrieval"):
        reserve("192.0.2.1", 50051, "retrieval")
