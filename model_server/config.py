"""Which models to serve, at which versions, under which labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import grpc
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from model_server.errors import ServingError, invalid_argument
from model_server.flags import Flags

_PLATFORM = "tensorflow"


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk to serve.

    Args:
        latest_count: The newest this many; None for another policy.
        specific: Exactly these; None for another policy. Every version is served when both are None.
    """

    latest_count: int | None = 1
    specific: frozenset[int] | None = None


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve.

    Args:
        name: What requests call it.
        base_path: Absolute path of the folder that holds its versions.
        policy: Which versions to serve.
        labels: Version by label.
        platform: What the model is made with; only ``tensorflow`` can be served.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    platform: str = _PLATFORM


def read_config(flags: Flags) -> dict[str, ModelConfig]:
    """Reads the models from the config file, or makes the single one that the flags name.

    Raises:
        ServingError: The file cannot be read or asks for something that cannot be served.
    """
    if flags.model_config_file:
        message = model_server_config_pb2.ModelServerConfig()
        path = Path(flags.model_config_file)
        try:
            text_format.Parse(path.read_text(encoding="utf-8"), message)
        except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
            raise invalid_argument(f"Invalid protobuf file: '{path}': {error}") from error
    else:
        message = model_server_config_pb2.ModelServerConfig()
        message.model_config_list.config.add(
            name=flags.model_name, base_path=flags.model_base_path, model_platform=_PLATFORM
        )
    return parse_config(message)


def parse_config(message: model_server_config_pb2.ModelServerConfig) -> dict[str, ModelConfig]:
    """Reads a ``ModelServerConfig``.

    Returns:
        The models by name, in the order given; their platforms may be unsupported (see ``require_supported``).

    Raises:
        ServingError: INVALID_ARGUMENT, naming the model and what is wrong with it.
    """
    kind = message.WhichOneof("config")
    if kind != "model_config_list":
        raise invalid_argument(f"expected a model_config_list, got {kind or 'an empty configuration'}")
    listed = message.model_config_list.config
    names: set[str] = set()
    for one in listed:
        if one.name in names:
            raise invalid_argument(f"Illegal to list model {one.name} multiple times in config list")
        names.add(one.name)
    for one in listed:
        if not Path(one.base_path).is_absolute():
            raise invalid_argument(
                f"Expected model {one.name} to have an absolute path or URI; got base_path()={one.base_path}"
            )
    return {
        one.name: ModelConfig(
            one.name,
            Path(one.base_path),
            _parse_policy(one),
            MappingProxyType(dict(one.version_labels)),
            _parse_platform(one),
        )
        for one in listed
    }


def refuse_changed_platforms(served: Mapping[str, ModelConfig], wanted: Mapping[str, ModelConfig]) -> None:
    """Refuses a configuration in which a model that is served has another platform.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    for name, model in wanted.items():
        before = served.get(name, model).platform
        if model.platform != before:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {name} platform was {before} and new platform "
                f"requested is {model.platform}"
            )


def require_supported(models: Mapping[str, ModelConfig]) -> None:
    """Refuses a model of a platform that this server does not know.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    for name, model in models.items():
        if model.platform != _PLATFORM:
            raise invalid_argument(f"Model {name} requests unsupported platform {model.platform}")


def _parse_platform(message: model_server_config_pb2.ModelConfig) -> str:
    if message.model_type:
        if message.model_platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                f"ModelServerConfig::model_platform, model name is {message.name}"
            )
        if message.model_type != model_server_config_pb2.ModelType.TENSORFLOW:
            raise invalid_argument(f"ModelServerConfig::model_type choice {message.model_type} not supported.")
        return _PLATFORM
    if not message.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {message.name}"
        )
    platform: str = message.model_platform
    return platform


def _parse_policy(message: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy = message.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(latest_count=None)
    if choice == "specific":
        if not policy.specific.versions:
            raise ServingError(
                grpc.StatusCode.INVALID_ARGUMENT, f"model {message.name}: the specific version policy lists no version"
            )
        return VersionPolicy(latest_count=None, specific=frozenset(policy.specific.versions))
    # A count of 0 is an unset one.
    return VersionPolicy(latest_count=policy.latest.num_versions or 1)
