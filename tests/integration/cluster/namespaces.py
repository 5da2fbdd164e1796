"""A network in namespaces: a bridge, and hosts with an address each, whose links can be cut."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
# No address outside the namespaces is touched, so that any range will do.
_PREFIX = "10.78.0"
_RUN = Path("/run/netns")
_ETC = Path("/etc/netns")
_numbers = itertools.count(1)


def why_not() -> str | None:
    """Why there can be no namespaces here; None where they can be had."""
    if sys.platform != "linux":
        return f"network namespaces are Linux's, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "network namespaces with resolv.conf files of their own need root"
    if shutil.which("ip") is None:
        return "ip is not installed (Debian: apt-get install iproute2)"
    try:
        with Network(""):
            return None
    except OSError as error:
        return f"no network namespace can be made: {error}"


class Host:
    """A namespace with one address on the bridge, as a pod has one.

    Args:
        name: The namespace's.
        address: Its IPv4 address.
        hub: The namespace of the bridge.
        link: The bridge's end of its cable.
    """

    def __init__(self, name: str, address: str, hub: str, link: str) -> None:
        self.name = name
        self.address = address
        self._hub = hub
        self._link = link

    def command(self, *arguments: str) -> list[str]:
        """The arguments that run a program in there, with its own resolv.conf; the process is the program's."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def run(self, work: Callable[[], T]) -> T:
        """Runs a function in a thread that is in there; the sockets that it makes stay there."""
        return in_namespace(self.name, work)

    def cut(self) -> None:
        """Every packet to and from it is lost from now on; nobody is told."""
        _ip("-n", self._hub, "link", "set", self._link, "down")

    def mend(self) -> None:
        """Packets arrive again."""
        _ip("-n", self._hub, "link", "set", self._link, "up")


class Network:
    """A bridge in a namespace of its own, and hosts on it.

    Args:
        resolv_conf: What stands in every host's resolv.conf.
    """

    def __init__(self, resolv_conf: str) -> None:
        self._name = f"twostage-{os.getpid()}-{next(_numbers)}"
        self._hub = f"{self._name}-hub"
        self._resolv_conf = resolv_conf
        self._hosts: list[str] = []
        _ip("netns", "add", self._hub)
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")

    @staticmethod
    def address(number: int) -> str:
        """The address of that number, 1..254."""
        return f"{_PREFIX}.{number}"

    def add(self, number: int) -> Host:
        """Adds the host of a number, which has the address of that number."""
        name, link = f"{self._name}-{number}", f"link{number}"
        folder = _ETC / name
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(self._resolv_conf, encoding="utf-8")
        self._hosts.append(name)
        _ip("netns", "add", name)
        _ip("-n", self._hub, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", self._hub, "link", "set", link, "master", "bridge", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        return Host(name, self.address(number), self._hub, link)

    def close(self) -> None:
        """Removes everything; no process may be left in there."""
        for name in [*self._hosts, self._hub]:
            with suppress(OSError):
                _ip("netns", "delete", name)
        for name in self._hosts:
            shutil.rmtree(_ETC / name, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def in_namespace(name: str, work: Callable[[], T]) -> T:
    """Runs a function in a thread of its own that is in a network namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            # A namespace is a thread's: the rest of this process stays where it is.
            _enter(name)
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(name: str) -> None:
    with (_RUN / name).open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {name}")


def _ip(*arguments: str) -> None:
    done = subprocess.run([shutil.which("ip") or "ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {' '.join(done.stderr.split())}")
