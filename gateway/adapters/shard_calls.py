"""One question to every shard of the retrieval service at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gateway.adapters.failures import raise_failure, raise_nobody
from gateway.adapters.retrieval import RetrievalCalls, RetrievalReplica
from gateway.adapters.retrieval_messages import STAGE, Q, Response
from gateway.engine.ladder import StageLate, StageUnavailable
from twostage.errors import NotReady
from twostage.rpc.asking import ask_together
from twostage.rpc.question import NoAnswer, Question
from twostage.v1 import retrieval_pb2


class Shards:
    """The shards of one index, each behind a target of its own.

    Args:
        calls: Whom to ask for every shard, shard 0 first.
    """

    def __init__(self, calls: Sequence[RetrievalCalls]) -> None:
        self._calls = calls

    def ask(
        self, method: Callable[[Any], Any], message: Q, *, generation: int, exhaustive: bool, deadline: float
    ) -> list[Any]:
        """Asks one replica of every shard; shard 0 alone for what every shard knows in full, and that only once.

        Args:
            method: Takes the method from a stub.
            message: The question, without what is asked of a shard.
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
        questions = []
        for index, calls in enumerate(self._calls):
            asked = retrieval_pb2.ShardRequest(with_shared_sources=index == 0 and not exhaustive, exhaustive=exhaustive)
            # Each has a message of its own, for it may be sent once more.
            question = Question(method, _of_shard(message, asked), deadline, (generation,))
            questions.append((calls, question, self._pick(index, calls, generation)))
        try:
            answers = ask_together(questions)
        except NoAnswer as failed:
            part = self.name(failed.part)
            raise_failure(STAGE, failed.error, timeout_seconds, replica=failed.replica, part=part)
        for index, answer in enumerate(answers):
            self._check_answer(index, answer, generation)
        return answers

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._calls)

    def name(self, index: int) -> str:
        """A shard's name in reasons, e.g. ``shard 0 of 3``."""
        return f"shard {index} of {len(self._calls)}"

    def _pick(self, index: int, calls: RetrievalCalls, generation: int) -> RetrievalReplica:
        try:
            return calls.replicas.pick(holding=(generation,))
        except NotReady as error:
            raise_nobody(STAGE, error, calls.replicas, part=self.name(index))

    def _check_answer(self, index: int, answer: Response, generation: int) -> None:
        if answer.generation != generation:
            why = f"expected an answer of generation {generation}, received {answer.generation}"
            raise StageUnavailable(STAGE, f"{self.name(index)}: {why}")
        shard = answer.answered_shard
        if (shard.index, shard.count) != (index, len(self._calls)):
            raise StageUnavailable(
                STAGE,
                f"{self.name(index)}: its target holds shard {shard.index} of {shard.count}; "
                "retrieval's targets are to be the shards in their order",
            )


def _of_shard(message: Q, asked: retrieval_pb2.ShardRequest) -> Q:
    """The question as one shard gets it."""
    copied = type(message)()
    copied.CopyFrom(message)
    copied.shard.CopyFrom(asked)
    return copied
