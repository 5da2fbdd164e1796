from __future__ import annotations

from collections.abc import Mapping

from tests.unit.twostage.rpc.echo import build
from tests.unit.twostage.rpc.echo_service.settings import EchoSettings
from twostage.rpc.launch import launch


def run(flags: Mapping[str, object]) -> int:
    return launch("echo", EchoSettings, flags, build)
