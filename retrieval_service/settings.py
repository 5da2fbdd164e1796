"""Settings of the retrieval service."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from twostage.rpc.settings import GenerationNumber, Port, ServiceSettings


class RetrievalSettings(ServiceSettings):
    """What the retrieval service can be told, beside what every service can.

    Attributes:
        store: The folder of the store whose generation is served.
        generation: Which one, so that a service that is started anew serves what its neighbours serve; the store's
            current one when unset.
        verify_checksums: True compares the sums of all files that are read before serving; about a second for each
            gigabyte.
    """

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_RETRIEVAL_")

    port: Port = 50051
    metrics_port: Port = 9101
    store: Path
    generation: GenerationNumber | None = None
    verify_checksums: bool = True
