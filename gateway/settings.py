"""What the gateway can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from gateway.engine.budget import BudgetPolicy
from gateway.pipeline import MAX_CANDIDATE_COUNT
from twostage.generations.settings import PollSeconds, StoreLocation
from twostage.rpc.settings import GenerationNumber, Port, ServiceSettings
from twostage.rpc.targets import parse_target

Milliseconds = Annotated[float, Field(gt=0, le=3_600_000)]
Connections = Annotated[int, Field(ge=1, le=256)]
Share = Annotated[float, Field(ge=0, lt=1)]


class GatewaySettings(ServiceSettings):
    """The gateway's settings; each is a flag, a variable ``TWOSTAGE_GATEWAY_…`` or a key of the YAML file.

    Attributes:
        store: The store of the generations that are answered from, a folder or a URL.
        generation: The one that is answered from, and no other, whatever the store's CURRENT does; when unset CURRENT
            is followed.
        generation_poll_seconds: Between two looks at CURRENT, 1 by default; 0 looks never.
        users: The SQLite file of the user store, made when it does not exist.
        retrieval: Where retrieval's replicas are; see `twostage.rpc.targets.Target`. Where each retrieval server holds
            one shard of the index, a target for every shard, shard 0 first, separated by semicolons.
        ranking: Where ranking's replicas are.
        retrieval_connections: Connections to each replica of retrieval. One that serves its port with several processes
            needs several, about four for each process, for a connection stays with one of them.
        ranking_connections: Likewise to each replica of ranking.
        candidate_count: How many candidates retrieval is asked for; never fewer than a request's own count, never
            more than the catalogue holds.
        default_deadline_ms: How long a caller that sets no deadline is taken to wait.
        max_deadline_ms: Callers who wait longer are answered within this all the same, so that a hanging stage does
            not hold the gateway's threads.
        ranking_share: The part of a request's time that is kept for ranking while retrieval runs.
        answer_share: The part that is kept for building the answer and sending it back.
        status_poll_seconds: Between two rounds of asking every replica of the stages which generations it holds, 1 by
            default. They are asked at once after a connection was made and after one said that it does not hold what
            it was asked for.
        status_timeout_ms: How long a stage may take to tell its status.
    """

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_GATEWAY_")

    port: Port = 50050
    metrics_port: Port = 9100
    store: StoreLocation
    generation: GenerationNumber | None = None
    generation_poll_seconds: PollSeconds = 1.0
    users: Path
    retrieval: str = "127.0.0.1:50051"
    ranking: str = "127.0.0.1:50052"
    retrieval_connections: Connections = 1
    ranking_connections: Connections = 1
    candidate_count: Annotated[int, Field(ge=1, le=MAX_CANDIDATE_COUNT)] = 500
    default_deadline_ms: Milliseconds = 1_000.0
    max_deadline_ms: Milliseconds = 2_000.0
    ranking_share: Share = 0.5
    answer_share: Share = 0.05
    status_poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    status_timeout_ms: Milliseconds = 500.0

    @field_validator("retrieval")
    @classmethod
    def _are_targets(cls, text: str) -> str:
        for part in _by_shard(text):
            parse_target(part)
        return text

    @field_validator("ranking")
    @classmethod
    def _is_target(cls, text: str) -> str:
        parse_target(text)
        return text

    @property
    def retrieval_targets(self) -> tuple[str, ...]:
        """Retrieval's targets: one where every replica holds the whole index, else one for each shard in order."""
        return _by_shard(self.retrieval)

    def budget_policy(self) -> BudgetPolicy:
        """How a request's time is split.

        Raises:
            ValueError: The shares leave nothing for retrieval.
        """
        return BudgetPolicy(ranking_share=self.ranking_share, answer_share=self.answer_share)


def _by_shard(text: str) -> tuple[str, ...]:
    # Not commas: those separate the replicas of one shard.
    return tuple(part.strip() for part in text.split(";"))
