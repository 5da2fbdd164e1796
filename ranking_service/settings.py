"""What the ranking service can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from twostage.generations.settings import PollSeconds, StoreLocation, StoreWaitSeconds
from twostage.rpc.settings import GenerationNumber, Port, ServiceSettings


class RankingSettings(ServiceSettings):
    """Settings of the ranking service, ``TWOSTAGE_RANKING_*`` in the environment.

    Attributes:
        store: The store's folder or URL; required.
        generation: Serve this one and no other, whatever the store's CURRENT names; follow CURRENT when unset.
        generation_poll_seconds: Between two looks at CURRENT, 1 by default; 0 looks only at the start.
        store_wait_seconds: How long to wait, not ready, for a first generation that can be served; then the process
            ends with the reason. 0, the default, ends at once; ``forever`` for pods whose bundle comes later.
        model_server: Where the model server listens, ``host:port`` or ``unix:///path``.
        model_server_wait_seconds: How long the model server may take to have a generation's models, at the start and
            for every generation after; 60 by default.
        model_server_max_in_flight: Calls to the model server at the same time, 64 by default; one more is refused as
            OVERLOADED, because a model server computes even what nobody waits for any more.
        model_config_file: The model server's config file, in which the versions it should hold are then named by this
            service, two, and three during a swap; the model server must poll it. Others name them when unset.
        model_retire_seconds: How long a model stays named when its generation is no longer held, for requests under
            way; 10 by default.
        default_timeout_seconds: How long a request may take whose caller set no deadline; 2 by default.
        deadline_margin_ms: What of the caller's time is kept for the way back; 1 by default. A request with less than
            this left is refused as DEADLINE_SPENT before any work.
    """

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_RANKING_", protected_namespaces=())

    store: StoreLocation
    generation: GenerationNumber | None = None
    generation_poll_seconds: PollSeconds = 1.0
    store_wait_seconds: StoreWaitSeconds = 0.0
    port: Port = 50052
    metrics_port: Port = 9102
    model_server: Annotated[str, Field(min_length=1)] = "127.0.0.1:8500"
    model_server_wait_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0
    model_server_max_in_flight: Annotated[int, Field(ge=1, le=1024)] = 64
    model_config_file: Path | None = None
    model_retire_seconds: Annotated[float, Field(ge=0, le=3600)] = 10.0
    default_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    deadline_margin_ms: Annotated[float, Field(ge=0, le=1000)] = 1.0
