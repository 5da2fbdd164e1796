"""One question to every shard of the retrieval service at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol, TypeVar

import grpc

from gateway.adapters.failures import raise_failure
from gateway.adapters.retrieval_messages import STAGE, Response
from gateway.engine.ladder import StageLate, StageUnavailable
from twostage.errors import NotReady
from twostage.rpc.channels import Replica, Replicas
from twostage.v1 import retrieval_pb2, retrieval_pb2_grpc

R_co = TypeVar("R_co", bound=Response, covariant=True)


class Call(Protocol[R_co]):
    """A call under way."""

    def result(self) -> R_co:
        """Waits for the answer."""

    def cancel(self) -> bool:
        """Ends the call; harmless when it has ended."""


Begin = Callable[[retrieval_pb2_grpc.RetrievalServiceStub, retrieval_pb2.ShardRequest, float], Call[R_co]]
"""Begins a call of a stub for what is asked of a shard, with a timeout in seconds."""


class Shards:
    """The shards of one index, each behind a target of its own.

    Args:
        replicas: Of every shard, shard 0 first.
    """

    def __init__(self, replicas: Sequence[Replicas[retrieval_pb2_grpc.RetrievalServiceStub]]) -> None:
        self._replicas = replicas

    def ask(self, begin: Begin[R_co], *, generation: int, exhaustive: bool, deadline: float) -> list[R_co]:
        """Asks one replica of every shard; shard 0 alone for what every shard knows in full, and that only once.

        Args:
            begin: Begins the call.
            generation: Whose rows are asked for.
            exhaustive: True asks for scans, because a first round found too few.
            deadline: By ``time.perf_counter()``, when the last answer must be there.

        Returns:
            An answer for each shard, in order.

        Raises:
            StageFailure: A shard did not answer, and the reason names it: a part of the catalogue is never passed off
                as the whole.
            InvalidField: A shard refuses the request; the caller is told.
        """
        timeout_seconds = deadline - time.perf_counter()
        if timeout_seconds <= 0:
            raise StageLate(STAGE, "no time was left for a second round over the shards")
        calls: list[tuple[Replica[retrieval_pb2_grpc.RetrievalServiceStub], Call[R_co]]] = []
        with ExitStack() as busy:
            try:
                for index, replicas in enumerate(self._replicas):
                    asked = retrieval_pb2.ShardRequest(
                        with_shared_sources=index == 0 and not exhaustive, exhaustive=exhaustive
                    )
                    replica = busy.enter_context(self._pick(index, replicas, generation))
                    calls.append((replica, begin(replica.stub, asked, timeout_seconds)))
                answers = [
                    self._result(index, replica, call, timeout_seconds) for index, (replica, call) in enumerate(calls)
                ]
            finally:
                for _, call in calls:
                    call.cancel()
        for index, answer in enumerate(answers):
            self._check_answer(index, answer, generation)
        return answers

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._replicas)

    def name(self, index: int) -> str:
        """A shard's name in reasons, e.g. ``shard 0 of 3``."""
        return f"shard {index} of {len(self._replicas)}"

    def _pick(
        self, index: int, replicas: Replicas[retrieval_pb2_grpc.RetrievalServiceStub], generation: int
    ) -> Replica[retrieval_pb2_grpc.RetrievalServiceStub]:
        try:
            return replicas.pick(holding=(generation,))
        except NotReady as error:
            raise StageUnavailable(STAGE, f"{self.name(index)}: no replica was found", detail=error.why) from error

    def _result(
        self,
        index: int,
        replica: Replica[retrieval_pb2_grpc.RetrievalServiceStub],
        call: Call[R_co],
        timeout_seconds: float,
    ) -> R_co:
        try:
            return call.result()
        except grpc.RpcError as error:
            raise_failure(STAGE, error, timeout_seconds, replica=replica, part=self.name(index))

    def _check_answer(self, index: int, answer: Response, generation: int) -> None:
        if answer.generation != generation:
            why = f"expected an answer of generation {generation}, received {answer.generation}"
            raise StageUnavailable(STAGE, f"{self.name(index)}: {why}")
        shard = answer.answered_shard
        if (shard.index, shard.count) != (index, len(self._replicas)):
            raise StageUnavailable(
                STAGE,
                f"{self.name(index)}: its target holds shard {shard.index} of {shard.count}; "
                "retrieval's targets are to be the shards in their order",
            )
