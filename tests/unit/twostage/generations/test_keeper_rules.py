"""Whatever is published, rolled back to or broken: what must always hold of a keeper."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.twostage.generations.made_store import MadeEngine, MadeStore, numbers
from twostage.bundle.errors import BundleCorrupt
from twostage.errors import NotReady

_KIND = st.sampled_from(["good", "good", "bad", "passing"])


class KeeperMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.made = MadeStore(self.folder)
        self.newest = 1
        self.made.publish(1)
        self.keeper = self.made.keeper()
        self.keeper.start()
        self.most_alive = 0
        self.made.on_prepare = self._note_preparing
        self.requests: list[MadeEngine] = []

    def _note_preparing(self, number: int) -> None:
        # What is held and what is being made are three at most, and it is not made twice.
        held = numbers(self.keeper)
        assert number not in held
        assert len(held) <= 2
        assert self.keeper.preparing == number

    @rule(kind=_KIND, current=st.booleans())
    def publish(self, kind: str, current: bool) -> None:
        self.newest += 1
        self._break(self.newest, kind)
        self.made.publish(self.newest, current=current)

    @rule(back=st.integers(0, 4))
    def roll_back(self, back: int) -> None:
        self.made.point(max(1, self.newest - back))

    @rule()
    def point_to_nothing(self) -> None:
        self.made.point(self.newest + 100)

    @rule()
    def damage_current(self) -> None:
        self.made.point("?")

    @rule(back=st.integers(0, 3), kind=_KIND)
    def change(self, back: int, kind: str) -> None:
        number = max(1, self.newest - back)
        self._break(number, kind)
        self.made.publish(number, current=False)

    @rule(seconds=st.sampled_from([1.0, 6.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.made.seconds += seconds

    @rule()
    def begin_request(self) -> None:
        self.requests.append(self.keeper.held())

    @rule()
    def end_requests(self) -> None:
        self.requests.clear()

    @rule()
    def look(self) -> None:
        self.keeper.look()
        self._check_current()

    @rule()
    def look_again(self) -> None:
        self.keeper.look()
        before = list(self.made.prepared)
        self.keeper.look()
        # Nothing changed and no time went by: there is nothing left to do.
        assert self.made.prepared == before

    def _check_current(self) -> None:
        """After a look what is active is what CURRENT names, unless that is refused or cannot be read."""
        text = (self.folder / "CURRENT").read_text().strip()
        if not text.isdecimal():
            return
        active = numbers(self.keeper)[0]
        refused = {refusal.number for refusal in self.keeper.refused}
        assert active == int(text) or int(text) in refused

    def _break(self, number: int, kind: str) -> None:
        self.made.faults.pop(number, None)
        if kind == "bad":
            self.made.faults[number] = BundleCorrupt("a", "b", "c")
        elif kind == "passing":
            self.made.faults[number] = NotReady("not yet")

    @invariant()
    def something_is_served(self) -> None:
        if hasattr(self, "keeper"):
            assert self.keeper.held() is self.keeper.all[0]
            assert self.keeper.preparing == 0

    @invariant()
    def at_most_two_are_held_each_once(self) -> None:
        if hasattr(self, "keeper"):
            held = numbers(self.keeper)
            assert 1 <= len(held) <= 2
            assert len(set(held)) == len(held)

    @invariant()
    def what_is_active_is_not_refused(self) -> None:
        if hasattr(self, "keeper"):
            refused = [refusal.number for refusal in self.keeper.refused]
            assert len(refused) <= 10
            assert refused == sorted(set(refused), reverse=True)
            assert not set(numbers(self.keeper)) & set(refused)

    @invariant()
    def nothing_is_closed_that_is_held_or_in_use(self) -> None:
        if hasattr(self, "keeper"):
            closed_count = {number: self.made.closed.count(number) for number in self.made.closed}
            made_count = {number: self.made.prepared.count(number) for number in closed_count}
            for engine in {*self.keeper.all, *self.requests}:
                assert closed_count.get(engine.number, 0) < made_count.get(engine.number, 1)

    def teardown(self) -> None:
        if hasattr(self, "keeper"):
            self.requests.clear()
            self.keeper.close()
            shutil.rmtree(self.folder)


TestKeeperRules = KeeperMachine.TestCase
TestKeeperRules.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
