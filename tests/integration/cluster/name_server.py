"""A DNS server whose records change, as a cluster's does for headless services."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from tests.integration.cluster.namespaces import Host

DOMAIN = "twostage.svc.cluster.local"


def resolv_conf(address: str) -> str:
    """What a pod's resolv.conf says in the namespace ``twostage``, with less patience."""
    return (
        f"nameserver {address}\nsearch {DOMAIN} svc.cluster.local cluster.local\noptions ndots:5 timeout:1 attempts:2\n"
    )


class NameServer(BaseResolver):  # type: ignore[misc] # dnslib ships no types
    """Answers for the names of services, at port 53 of a host, by UDP and by TCP.

    Args:
        host: Where it listens.

    Attributes:
        query_count: Questions for addresses that were answered.
        kept_seconds: How long an answer is given again and again before records are looked at anew, and what answers
            say of that; CoreDNS keeps them for 5 s by its own default and for 30 s by kubeadm's.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.kept_seconds = 0
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._kept: dict[str, tuple[float, tuple[str, ...] | None]] = {}
        self.query_count = 0
        self._servers: list[DNSServer] = []
        self.start()

    def start(self) -> None:
        """Answers from now on."""

        def listen() -> list[DNSServer]:
            quiet = DNSLogger(log="-request,-reply,-truncated,-error")
            return [
                DNSServer(self, port=53, address=self._host.address, tcp=tcp, logger=quiet) for tcp in (False, True)
            ]

        self._servers = self._host.run(listen)
        for server in self._servers:
            server.start_thread()

    def stop(self) -> None:
        """Closes its port: who asks is told at once that nobody listens."""
        for server in self._servers:
            server.stop()
            server.server.server_close()
        self._servers = []

    def set(self, service: str, addresses: Sequence[str] | None) -> None:
        """Sets a service's addresses; none is an empty answer, and None says that there is no such name."""
        if addresses is None:
            self._addresses.pop(service, None)
        else:
            self._addresses[service] = tuple(addresses)

    def resolve(self, request: DNSRecord, _handler: object) -> DNSRecord:
        """Answers a question; called by dnslib."""
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        service = name.removesuffix(f".{DOMAIN}")
        addresses = self._look_up(service)
        if name == service or addresses is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif request.q.qtype in (QTYPE.A, QTYPE.ANY):
            self.query_count += 1
            for address in addresses:
                reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(address), ttl=self.kept_seconds))
        return reply

    def _look_up(self, service: str) -> tuple[str, ...] | None:
        now = time.monotonic()
        until, kept = self._kept.get(service, (0.0, None))
        if now < until:
            return kept
        addresses = self._addresses.get(service)
        self._kept[service] = (now + self.kept_seconds, addresses)
        return addresses
