"""Addresses are looked at before anything is loaded."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from model_server.flags import Flags
from model_server.port import require_free_addresses
from twostage.rpc.address import AddressUnavailable


def test_a_taken_port_is_found_and_a_free_one_is_not_kept() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        for flags, name in ((Flags(port=port), "--port"), (Flags(port=0, rest_api_port=port), "--rest_api_port")):
            with pytest.raises(AddressUnavailable) as raised:
                require_free_addresses(flags)
            assert f"cannot listen on 127.0.0.1:{port}" in str(raised.value)
            assert name in str(raised.value)
            assert "Address already in use" in str(raised.value)
    require_free_addresses(Flags(port=port))
    require_free_addresses(Flags(port=port))


def test_a_socket_that_is_listened_on_is_taken_and_one_that_was_left_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    flags = Flags(port=0, grpc_socket_path=str(path))
    require_free_addresses(flags)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with pytest.raises(AddressUnavailable, match=re.escape("(--grpc_socket_path): Address already in use")):
            require_free_addresses(flags)
    assert path.exists()
    require_free_addresses(flags)


def test_a_socket_path_that_cannot_be_one_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, why in (
        (tmp_path / "file", "a file that is no socket is there"),
        (tmp_path / "none" / "s", "is no folder"),
        (tmp_path / ("x" * 120), "expected a path of at most 107 bytes"),
    ):
        with pytest.raises(AddressUnavailable, match=why):
            require_free_addresses(Flags(port=0, grpc_socket_path=str(path)))
