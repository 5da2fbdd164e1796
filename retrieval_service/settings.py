"""Settings of the retrieval service."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from twostage.rpc.settings import Port, ServiceSettings


class RetrievalSettings(ServiceSettings):
    """What the retrieval service can be told, beside what every service can.

    Attributes:
        store: The folder of the store whose current generation is served.
        verify_checksums: True compares the sums of all files that are read before serving; about a second for each
            gigabyte.
    """

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_RETRIEVAL_")

    port: Port = 50051
    metrics_port: Port = 9101
    store: Path
    verify_checksums: bool = True
