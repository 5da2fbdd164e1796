"""The log as the gateway's settings want it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from gateway.settings import GatewaySettings
from twostage.impressions.user_key import UserKeys, read_secret
from twostage.rpc.settings import SettingsError

if TYPE_CHECKING:
    from gateway.impressions.recorders import Logs

_DAY_SECONDS = 86_400.0


def open_logs(settings: GatewaySettings, registry: CollectorRegistry) -> Logs | None:
    """Opens the folder of the log and starts to write.

    Args:
        settings: The gateway's.
        registry: Where metrics are registered.

    Returns:
        None when nothing is to be logged.

    Raises:
        SettingsError: There is no secret and it was not said that there shall be none, it cannot be read or is too
            short, the folder cannot be written, or pyarrow is not installed.
    """
    if settings.impressions is None:
        return None
    keys = _keys(settings)
    if find_spec("pyarrow") is None:
        raise SettingsError("impressions: expected pyarrow, which is not installed: pip install 'twostage[gateway]'")
    # Loaded only here: a gateway that logs nothing does without.
    from gateway.impressions.log_folder import LogFolder, Retention  # noqa: PLC0415
    from gateway.impressions.log_writer import Rolling  # noqa: PLC0415
    from gateway.impressions.recorders import Logs  # noqa: PLC0415

    retention = Retention(settings.impressions_max_bytes, settings.impressions_max_age_days * _DAY_SECONDS)
    try:
        folder = LogFolder(settings.impressions, retention)
    except OSError as error:
        raise SettingsError(
            f"impressions: expected a folder that can be written, received {settings.impressions}: {error.strerror}"
        ) from error
    return Logs.open(
        folder,
        keys,
        registry,
        rolling=Rolling(
            seconds=settings.impressions_roll_seconds,
            file_bytes=settings.impressions_roll_bytes,
            queue_bytes=settings.impressions_queue_bytes,
        ),
        share=settings.impressions_share,
        candidate_count=settings.impressions_candidates,
    )


def _keys(settings: GatewaySettings) -> UserKeys:
    secret = settings.impressions_key.get_secret_value().encode() if settings.impressions_key is not None else None
    path = settings.impressions_key_file
    given = [what for what, is_given in (("a key", secret), ("a key file", path)) if is_given]
    if settings.impressions_unkeyed:
        if given:
            raise SettingsError(f"impressions_unkeyed: expected no key beside it, received {' and '.join(given)}")
        return UserKeys(None)
    if len(given) != 1:
        raise SettingsError(
            "impressions_key_file: expected the file of a secret that stands for people in the log (or "
            "TWOSTAGE_GATEWAY_IMPRESSIONS_KEY, or impressions_unkeyed for a log without people), received "
            f"{' and '.join(given) or 'none'}"
        )
    try:
        return UserKeys(read_secret(path) if path is not None else secret)
    except OSError as error:
        raise SettingsError(
            f"impressions_key_file: expected a file that can be read, received {path}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise SettingsError(f"impressions_key_file: {error}") from error
