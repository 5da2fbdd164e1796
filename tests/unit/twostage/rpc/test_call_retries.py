from __future__ import annotations

import threading

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from tests.unit.twostage.rpc.calling import ask, code_of, eventually, idle, make
from tests.unit.twostage.rpc.echo import say_stub
from tests.unit.twostage.rpc.scripted import Scripted, scripted
from twostage.errors import InvalidField, NotReady, Overloaded
from twostage.rpc.channels import Replicas
from twostage.rpc.question import NoAnswer


@pytest.mark.parametrize("hedge_share", [0.0, 0.05])
def test_unavailable_is_asked_of_another_replica_at_once(hedge_share: float) -> None:
    with scripted("down", "up") as ((down, up), replicas):
        down.error = NotReady("draining")
        calls, told = make(replicas, hedge_share=hedge_share, hedge_least_seconds=2.0)
        assert ask(calls, replicas.all()[0]) == "up"
        assert (down.asked_count, up.asked_count, told.retries) == (1, 1, {"made": 1})
        assert idle(replicas)


class GivingUp(Scripted):
    """Cancels what it is asked, as a server's end now and then does with what came too late."""

    def say(self, _request: StringValue, context: grpc.ServicerContext) -> StringValue:
        self.asked_count += 1
        context.abort(grpc.StatusCode.CANCELLED, "")
        raise AssertionError


@pytest.mark.parametrize("hedge_share", [0.0, 0.05])
def test_what_a_server_cancels_is_asked_of_another_replica(hedge_share: float) -> None:
    stopping, up = GivingUp("stopping"), Scripted("up")
    with (
        stopping.serving() as server,
        up.serving() as other,
        Replicas(f"{server.address},{other.address}", say_stub, service_config="{}") as replicas,
    ):
        calls, told = make(replicas, hedge_share=hedge_share, hedge_least_seconds=30.0)
        assert ask(calls, replicas.all()[0]) == "up"
        assert (stopping.asked_count, up.asked_count, told.retries) == (1, 1, {"made": 1})


@pytest.mark.parametrize("hedge_share", [0.0, 0.05])
def test_what_a_server_gives_up_as_it_stops_is_asked_of_another_replica(hedge_share: float) -> None:
    stopping, up = Scripted("stopping"), Scripted("up")
    stopping.seconds = 10.0
    with (
        stopping.serving() as server,
        up.serving() as other,
        Replicas(f"{server.address},{other.address}", say_stub, service_config="{}") as replicas,
    ):
        calls, told = make(replicas, hedge_share=hedge_share, hedge_least_seconds=30.0)

        def stop() -> None:
            eventually(lambda: stopping.asked_count > 0)
            server.stop(grace_seconds=0)

        stopper = threading.Thread(target=stop)
        stopper.start()
        assert ask(calls, replicas.all()[0], seconds=20.0) == "up"
        stopper.join()
        assert (stopping.asked_count, up.asked_count, told.retries) == (1, 1, {"made": 1})


def test_where_there_is_no_other_the_same_replica_is_asked_again_once() -> None:
    with scripted("down") as ((down,), replicas):
        down.error = NotReady("draining")
        calls, told = make(replicas, hedge_share=0.0)
        with pytest.raises(NoAnswer) as caught:
            ask(calls)
        assert (code_of(caught.value), down.asked_count) == (grpc.StatusCode.UNAVAILABLE, 2)
        assert told.retries == {"made": 1}
        assert caught.value.replica is replicas.all()[0]


@pytest.mark.parametrize("hedge_share", [0.0, 0.05])
def test_with_all_replicas_down_the_first_failure_is_told_after_two_attempts(hedge_share: float) -> None:
    with scripted("a", "b") as ((a, b), replicas):
        a.error = b.error = NotReady("draining")
        calls, _ = make(replicas, hedge_share=hedge_share, hedge_least_seconds=2.0)
        with pytest.raises(NoAnswer) as caught:
            ask(calls, replicas.all()[0])
        assert caught.value.replica is replicas.all()[0]
        assert (a.asked_count, b.asked_count) == (1, 1)


@pytest.mark.parametrize("hedge_share", [0.0, 0.05])
def test_of_two_failures_a_refusal_tells_more_than_that_somebody_was_not_there(hedge_share: float) -> None:
    with scripted("away", "refuses") as ((away, refuses), replicas):
        away.error, refuses.error = NotReady("draining"), InvalidField("count", "1 to 200", 0)
        calls, _ = make(replicas, hedge_share=hedge_share, hedge_least_seconds=2.0)
        with pytest.raises(NoAnswer) as caught:
            ask(calls, replicas.all()[0])
        assert code_of(caught.value) is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.replica is replicas.all()[1]


def test_retries_end_with_their_budget_and_can_be_turned_off() -> None:
    with scripted("a", "b") as ((a, b), replicas):
        a.error = b.error = NotReady("draining")
        calls, told = make(replicas, hedge_least_seconds=2.0, retry_share=0.1)
        for _ in range(50):
            with pytest.raises(NoAnswer):
                ask(calls)
        # A reserve of ten, and a tenth of fifty requests.
        assert 10 <= told.retries["made"] <= 15
        # On a busy machine one may be given up before it reaches its replica.
        assert 0 <= 50 + told.retries["made"] - a.asked_count - b.asked_count <= 3
        calls, told = make(replicas, retry_share=0.0)
        with pytest.raises(NoAnswer):
            ask(calls)
        assert told.retries == {"refused": 1}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidField("count", "1 to 200", 0), grpc.StatusCode.INVALID_ARGUMENT),
        (Overloaded(0.1), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (RuntimeError("a defect"), grpc.StatusCode.INTERNAL),
    ],
)
def test_what_is_not_unavailable_is_not_asked_again(error: Exception, code: grpc.StatusCode) -> None:
    with scripted("a", "b") as ((a, b), replicas):
        a.error = b.error = error
        calls, _ = make(replicas, hedge_least_seconds=2.0)
        with pytest.raises(NoAnswer) as caught:
            ask(calls)
        assert code_of(caught.value) is code
        assert a.asked_count + b.asked_count == 1
