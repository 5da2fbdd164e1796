"""Settings of the retrieval service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from twostage.generations.settings import PollSeconds, StoreLocation, StoreWaitSeconds
from twostage.rpc.security.private_files import read_secret
from twostage.rpc.settings import GenerationNumber, Port, ServiceSettings


class RetrievalSettings(ServiceSettings):
    """What the retrieval service can be told, beside what every service can.

    Attributes:
        store: The folder or URL of the store whose generations are served.
        generation: Serve this one and no other, whatever the store's CURRENT names; follow CURRENT when unset.
        generation_poll_seconds: Between two looks at CURRENT; 0 looks only at the start.
        store_wait_seconds: How long to wait, not ready, for a first generation that can be served; then the process
            ends with the reason. 0, the default, ends at once; ``forever`` for pods whose bundle comes later.
        verify_checksums: True compares the sums of all files that are read before serving; about a second for each
            gigabyte.
        shard: Which of the index's shards this server searches, from 0, for gateways that merge all of them; the whole
            index when unset.
        milvus_uri: The Milvus that is searched instead of the bundle's index: ``http://host:19530``, or a local file
            ending in ``.db``; the bundle's index when unset. `twostage index push` puts a generation there.
        milvus_token_file: A file that holds what Milvus asks for, e.g. ``user:password``, on one line.
        milvus_token: The same as text, from the environment; no flag, for command lines are seen by everybody.
        milvus_prefix: Beginning of the collections' names.
        milvus_timeout_ms: How long one search may wait for Milvus.
        milvus_effort: Multiplies how thoroughly Milvus searches.
    """

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_RETRIEVAL_")

    port: Port = 50051
    metrics_port: Port = 9101
    store: StoreLocation
    generation: GenerationNumber | None = None
    generation_poll_seconds: PollSeconds = 1.0
    store_wait_seconds: StoreWaitSeconds = 0.0
    verify_checksums: bool = True
    shard: Annotated[int, Field(ge=0)] | None = None
    milvus_uri: str | None = None
    milvus_token_file: Path | None = None
    milvus_token: SecretStr = SecretStr("")
    milvus_prefix: str = "twostage"
    milvus_timeout_ms: Annotated[float, Field(gt=0, le=60_000)] = 250.0
    milvus_effort: Annotated[float, Field(gt=0, le=100)] = 1.0

    def milvus_secret(self) -> str:
        """What Milvus asks for; empty when nothing was given.

        Raises:
            SecretInvalid: The file cannot be read, or holds anything but one line of printable ASCII.
        """
        if self.milvus_token_file is not None:
            return read_secret(self.milvus_token_file, "milvus_token_file")
        return self.milvus_token.get_secret_value()

    @model_validator(mode="after")
    def _has_one_token(self) -> Self:
        if self.milvus_token_file is not None and self.milvus_token.get_secret_value():
            raise ValueError("milvus_token_file: expected none beside milvus_token, received one")
        return self

    @model_validator(mode="after")
    def _searches_one_index(self) -> Self:
        if self.shard is not None and self.milvus_uri is not None:
            raise ValueError(
                f"milvus_uri: expected none beside a shard of the bundle's index, received {self.milvus_uri}"
            )
        return self
