from __future__ import annotations

import re
import socket

import pytest

from twostage.rpc.address import AddressUnavailable, join_address, require_free
from twostage.rpc.targets import parse_target


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("127.0.0.1:50051", ("127.0.0.1:50051",)),
        ("unix:/run/model.sock", ("unix:/run/model.sock",)),
        ("b:2, a:1,b:2", ("b:2", "a:1")),
        ("[::1]:50051", ("[::1]:50051",)),
        ("unix:/a,host:1", ("unix:/a", "host:1")),
    ],
)
def test_a_fixed_target_lists_its_addresses(text: str, addresses: tuple[str, ...]) -> None:
    target = parse_target(text)
    assert target.addresses() == addresses
    assert not target.changes


def test_a_dns_name_stands_for_every_address_it_resolves_to() -> None:
    target = parse_target("dns:///localhost:50051")
    assert target.changes
    expected = {found[4][0] for found in socket.getaddrinfo("localhost", 50051, type=socket.SOCK_STREAM)}
    assert set(target.addresses()) == {join_address(str(host), 50051) for host in expected}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "host:port",
        "::1:50051",
        "a:1,,b:2",
        "unix:",
        "http://a:1",
        "dns:///host",
        "dns:///a:1,b:2",
        "dns://server/host:1",
    ],
)
def test_a_malformed_target_is_refused_with_the_forms_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"target: expected host:port, .* received") as caught:
        parse_target(text)
    assert str(caught.value).endswith(repr(text))


@pytest.mark.parametrize(
    ("host", "words"), [("no-such-host.invalid", r"Name|service|resolution"), ("192.0.2.1", "assign")]
)
def test_an_address_that_is_not_this_machines_is_refused(host: str, words: str) -> None:
    with pytest.raises(AddressUnavailable) as caught:
        require_free(host, 0, "echo")
    assert re.fullmatch(rf"cannot listen on {re.escape(host)}:0 for echo: .*({words}).*", str(caught.value))
