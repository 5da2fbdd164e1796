from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.access.explaining import Explaining
from twostage.errors import PermissionDenied
from twostage.rpc import caller
from twostage.rpc.caller import ANYBODY, Caller


@pytest.fixture(autouse=True)
def _nobody() -> Iterator[None]:
    yield
    caller.forget_current()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("who", [ANYBODY, Caller("a", may_explain=True), Caller("b", may_explain=False)])
def test_it_takes_a_gateway_that_explains_and_a_caller_who_may(enabled: bool, who: Caller) -> None:
    caller.set_current(who)
    if enabled and who.may_explain:
        Explaining(enabled).require()
        return
    with pytest.raises(PermissionDenied):
        Explaining(enabled).require()
