"""The retrieval service as the pipeline sees it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import grpc
import numpy as np
from numpy.typing import NDArray

from gateway.adapters.failures import raise_failure
from gateway.adapters.messages import filter_message, history_message, read_shortfall, read_timings
from gateway.engine.ladder import StageUnavailable
from gateway.engine.person import Person
from gateway.engine.request import RecommendRequest
from gateway.engine.stages import Retrieved
from twostage.errors import NotReady
from twostage.rpc.channels import Replicas
from twostage.v1 import retrieval_pb2, retrieval_pb2_grpc

STAGE = "retrieval"

_SOURCE_NAMES = {
    1 << (value - 1): name.removeprefix("SOURCE_").lower() for name, value in retrieval_pb2.Source.items() if value > 0
}


class CandidateMessage:
    """Candidates in the message in which they came, because ranking takes them in the same one.

    Implements :class:`gateway.engine.stages.Candidates`.

    Args:
        message: Columns of one length.
    """

    __slots__ = ("message",)

    def __init__(self, message: retrieval_pb2.CandidateColumns) -> None:
        self.message = message

    def __len__(self) -> int:
        """The number of candidates."""
        return len(self.message.rows)

    def rows(self) -> NDArray[np.uint32]:
        """uint32[C], the candidates' rows."""
        return np.array(self.message.rows, np.uint32)

    def scores(self) -> NDArray[np.float32]:
        """float32[C], user vector · item vector."""
        return np.array(self.message.scores, np.float32)

    def score(self, index: int) -> float:
        """The retrieval score of one candidate."""
        return float(self.message.scores[index])

    def sources(self, index: int) -> Sequence[str]:
        """The names of the sources that found one candidate."""
        return source_names(self.message.sources[index])


def source_names(bits: int) -> tuple[str, ...]:
    """The names of a bit set of sources, e.g. ``("user_vector", "popular")``."""
    known = _NAMES_OF_BITS.get(bits)
    if known is None:
        # Bits of sources that this program does not know, from a newer retrieval service.
        known = tuple(name for bit, name in _SOURCE_NAMES.items() if bits & bit)
    return known


_NAMES_OF_BITS = {
    bits: tuple(name for bit, name in _SOURCE_NAMES.items() if bits & bit) for bits in range(1 << len(_SOURCE_NAMES))
}


class RetrievalAdapter:
    """Asks replicas of the retrieval service; implements :class:`gateway.engine.stages.Retrieval`.

    Args:
        replicas: Whom to ask.
    """

    def __init__(self, replicas: Replicas[retrieval_pb2_grpc.RetrievalServiceStub]) -> None:
        self._replicas = replicas

    def retrieve(
        self, request: RecommendRequest, person: Person, *, generation: int, count: int, timeout_seconds: float
    ) -> Retrieved[CandidateMessage]:
        """Finds candidates; see :meth:`Retrieval.retrieve`."""
        message = retrieval_pb2.RetrieveRequest(
            generation=generation,
            history=history_message(person.history),
            interest_tags=request.interest_tags,
            exclude_rows=person.excluded_rows,
            count=count,
        )
        if request.filter:
            message.filter.CopyFrom(filter_message(request.filter))
        start = time.perf_counter()
        try:
            with self._replicas.pick() as replica:
                response = replica.stub.Retrieve(message, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise_failure(STAGE, error, timeout_seconds)
        except NotReady as error:
            raise StageUnavailable(STAGE, "no replica was found", detail=error.why) from error
        wait_ms = (time.perf_counter() - start) * 1000
        candidates = response.candidates
        if response.generation != generation or not (
            len(candidates.rows) == len(candidates.scores) == len(candidates.sources)
        ):
            raise StageUnavailable(
                STAGE,
                f"expected columns of one length of generation {generation}, received {len(candidates.rows)} rows, "
                f"{len(candidates.scores)} scores, {len(candidates.sources)} sources of {response.generation}",
            )
        return Retrieved(
            candidates=CandidateMessage(candidates),
            shortfall=read_shortfall(response),
            timings=read_timings(STAGE, response.timings, wait_ms),
        )
