"""What the ranking service can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from twostage.rpc.settings import GenerationNumber, Port, ServiceSettings


class RankingSettings(ServiceSettings):
    """Settings of the ranking service, ``TWOSTAGE_RANKING_*`` in the environment.

    Attributes:
        store: The store's folder; required.
        generation: Which one, so that a service that is started anew serves what its neighbours serve; the store's
            current one when unset.
        model_server: Where the model server listens, ``host:port`` or ``unix:///path``.
        model_server_wait_seconds: How long a starting service waits for the model server to have the generation's
            models; 60 by default.
        model_server_max_in_flight: Calls to the model server at the same time, 64 by default; one more is refused as
            OVERLOADED, because a model server computes even what nobody waits for any more.
        default_timeout_seconds: How long a request may take whose caller set no deadline; 2 by default.
        deadline_margin_ms: What of the caller's time is kept for the way back; 1 by default. A request with less than
            this left is refused as DEADLINE_SPENT before any work.
    """

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_RANKING_")

    store: Path
    generation: GenerationNumber | None = None
    port: Port = 50052
    metrics_port: Port = 9102
    model_server: Annotated[str, Field(min_length=1)] = "127.0.0.1:8500"
    model_server_wait_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0
    model_server_max_in_flight: Annotated[int, Field(ge=1, le=1024)] = 64
    default_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    deadline_margin_ms: Annotated[float, Field(ge=0, le=1000)] = 1.0
