from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from twostage.rpc.settings import ServiceSettings


class EchoSettings(ServiceSettings):
    """``prepare`` says what loading does: ``sleep 0.5``, ``refuse``, ``defect``, or ``need FILE``."""

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_ECHO_")

    prepare: str = ""
