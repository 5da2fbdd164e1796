"""Model configurations, and the versions on disk that they ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from model_server.config import (
    ModelConfig,
    VersionPolicy,
    parse_config,
    read_config,
    refuse_changed_platforms,
    require_supported,
)
from model_server.errors import ServingError
from model_server.flags import Flags
from model_server.version_source import BasePathMissingError, aspired_versions, versions_on_disk


def _parse(text: str) -> dict[str, ModelConfig]:
    message = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(f"model_config_list {{ {text} }}", message)
    return parse_config(message)


def test_policies_and_labels_are_read() -> None:
    models = _parse("""
        config { name: "a" base_path: "/a" model_platform: "tensorflow" }
        config { name: "b" base_path: "/b" model_type: TENSORFLOW model_version_policy { latest { num_versions: 2 } } }
        config { name: "c" base_path: "/c" model_platform: "tensorflow" model_version_policy { all {} } }
        config { name: "d" base_path: "/d" model_platform: "tensorflow"
                 model_version_policy { specific { versions: 4 versions: 7 } }
                 version_labels { key: "stable" value: 4 } }
        config { name: "e" base_path: "/e" model_platform: "tensorflow" model_version_policy { latest {} } }
    """)
    assert list(models) == ["a", "b", "c", "d", "e"]
    assert models["a"].policy == VersionPolicy(latest_count=1) == models["e"].policy
    assert models["b"].policy == VersionPolicy(latest_count=2)
    assert models["c"].policy == VersionPolicy(latest_count=None)
    assert models["d"].policy == VersionPolicy(latest_count=None, specific=frozenset({4, 7}))
    assert dict(models["d"].labels) == {"stable": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'config { name: "z" base_path: "rel/b" model_platform: "tensorflow" }',
            "Expected model z to have an absolute path or URI; got base_path()=rel/b",
        ),
        (
            'config { name: "z" model_platform: "tensorflow" }',
            "Expected model z to have an absolute path or URI; got base_path()=",
        ),
        (
            'config { name: "z" base_path: "/z" model_platform: "tensorflow" model_type: TENSORFLOW }',
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform",
        ),
        (
            'config { name: "y" base_path: "rel" } config { name: "z" base_path: "/z" } config { name: "z" }',
            "Illegal to list model z multiple times in config list",
        ),
        ('config { name: "z" base_path: "/z" model_type: OTHER }', "model_type choice 2 not supported."),
        (
            'config { name: "z" base_path: "/z" }',
            (
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform, model name is z"
            ),
        ),
        (
            (
                'config { name: "z" base_path: "/z" model_platform: "tensorflow" } '
                'config { name: "z" base_path: "/y" model_platform: "tensorflow" }'
            ),
            "model z multiple times",
        ),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_as_the_real_server_does(text: str, message: str) -> None:
    with pytest.raises(ServingError) as raised:
        _parse(text)
    assert message in raised.value.message
    assert raised.value.code.name == "INVALID_ARGUMENT"


def test_a_platform_that_is_unsupported_or_changed_is_refused() -> None:
    other = _parse('config { name: "z" base_path: "/z" model_platform: "onnx" }')
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: Model z requests unsupported platform onnx"):
        require_supported(other)
    with pytest.raises(ServingError, match="For model z platform was tensorflow and new platform requested is onnx"):
        refuse_changed_platforms({"z": ModelConfig("z", Path("/z"))}, other)
    refuse_changed_platforms({}, other)
    refuse_changed_platforms(other, {})


def test_flags_alone_make_one_model() -> None:
    models = read_config(Flags(model_name="m", model_base_path="/models/m"))
    assert models == {"m": ModelConfig("m", Path("/models/m"))}


def test_an_unknown_field_in_the_file_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text("model_config_list { config { bogus_field: 1 } }")
    with pytest.raises(ServingError, match=r"Invalid protobuf file: .*bogus_field"):
        read_config(Flags(model_config_file=str(path)))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("1", "2", "00012", "0002", "7a", "-7", "0x9", "abc", "2.tmp", " 8", "99999999999999999999", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "55").write_text("a file whose name is a number counts as well")
    return tmp_path


def test_every_child_that_is_a_number_is_a_version(base: Path) -> None:
    found = {-7: "-7", 1: "1", 2: "2", 8: " 8", 12: "00012", 55: "55"}
    assert versions_on_disk(base) == {number: base / name for number, name in found.items()}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy(), [55]),
        (VersionPolicy(latest_count=2), [12, 55]),
        (VersionPolicy(latest_count=None), [-7, 1, 2, 8, 12, 55]),
        (VersionPolicy(latest_count=None, specific=frozenset({2, 3})), [2]),
    ],
)
def test_the_policy_chooses_among_them(base: Path, policy: VersionPolicy, expected: list[int]) -> None:
    assert list(aspired_versions(ModelConfig("m", base, policy))) == expected


def test_a_missing_base_path_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(BasePathMissingError, match="Could not find base path"):
        versions_on_disk(tmp_path / "none")
