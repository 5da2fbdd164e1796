from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from google.protobuf import text_format

from tests.unit.ranking_service.catalogue import publish, ranker_entry
from twostage.bundle.errors import BundleCorrupt, GenerationMissing, StoreUnwritable
from twostage.bundle.store import Store
from twostage.generations.model_config import ModelConfigFile, model_config_text
from twostage.tfserving import messages


def store_of(folder: Path, *models: tuple[str, ...]) -> Store:
    """Generations from 1 on, each with rankers that ask these models; a model named ``-x`` has no folder."""
    store = Store(folder)
    for names in models:
        rankers = {name.strip("-"): ranker_entry(model=name.strip("-")) for name in names}
        rankers.setdefault("main", next(iter(rankers.values())))
        store = publish(folder, rankers=rankers)
        number = store.current()
        for name in names:
            if not name.startswith("-"):
                (store.models_path / name / str(number)).mkdir(parents=True)
    return store


def versions(text: str) -> dict[str, list[int]]:
    return {
        entry.name: list(entry.model_version_policy.specific.versions)
        for entry in parsed(text).model_config_list.config
    }


def parsed(text: str) -> messages.Message:
    config = messages.message_class("tensorflow.serving.ModelServerConfig")()
    return text_format.Parse(text, config)


def named(file: ModelConfigFile) -> Mapping[str, list[int]]:
    return versions(file.path.read_text(encoding="utf-8"))


def test_versions_are_named_and_paths_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'a "quoted" störe'
    store_of(folder, ("main",), ("main",))
    monkeypatch.chdir(tmp_path)
    (entry,) = parsed(model_config_text(Store(folder.name), [2, 1])).model_config_list.config
    assert (entry.name, entry.model_platform) == ("main", "tensorflow")
    assert entry.base_path == str((folder / "models" / "main").resolve())
    assert list(entry.model_version_policy.specific.versions) == [1, 2]


def test_every_ranker_has_the_versions_of_the_generations_that_know_it(tmp_path: Path) -> None:
    store = store_of(tmp_path, ("main", "old"), ("main", "new"))
    assert versions(model_config_text(store, [1, 2])) == {"main": [1, 2], "new": [2], "old": [1]}


def test_a_folder_that_is_not_there_is_never_named(tmp_path: Path) -> None:
    store = store_of(tmp_path, ("main", "-ghost"), ("-main",))
    assert versions(model_config_text(store, [1, 2])) == {"main": [1]}


def test_needs_replace_what_was_needed_before(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ("main",), ("main", "new"), ("main",))
    file = ModelConfigFile(tmp_path / "models.config", store)
    file.need([1])
    assert named(file) == {"main": [1]}
    file.need([1, 2, 3])
    assert named(file) == {"main": [1, 2, 3], "new": [2]}
    file.need([3])
    assert named(file) == {"main": [3]}


def test_a_model_without_a_folder_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ("main",), ("-main",))
    file = ModelConfigFile(tmp_path / "models.config", store)
    file.need([1])
    with pytest.raises(BundleCorrupt, match=r"models/main/2: expected a SavedModel, found no folder"):
        file.need([1, 2])
    with pytest.raises(GenerationMissing):
        file.need([3])
    assert named(file) == {"main": [1]}
    assert file.needed == {1}


def test_what_is_only_hoped_for_is_left_out_when_it_is_not_there(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ("main",), ("-main",), ("main",))
    file = ModelConfigFile(tmp_path / "models.config", store)
    file.need([3], if_there=[1, 2, 9])
    assert named(file) == {"main": [1, 3]}
    assert file.needed == {1, 3}


def test_all_that_the_living_need_is_named(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ("main",), ("main",), ("main",))
    path = tmp_path / "models.config"
    first, second = ModelConfigFile(path, store), ModelConfigFile(path, store)
    first.need([1, 2])
    second.need([2, 3])
    assert named(first) == {"main": [1, 2, 3]}
    first.need([2, 3])
    assert named(first) == {"main": [2, 3]}
    second.close()
    first.need([2])
    assert named(first) == {"main": [2]}


def test_the_needs_of_a_killed_process_are_forgotten(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ("main",), ("main",))
    path = tmp_path / "models.config"
    program = (
        "import sys, time; from pathlib import Path; from twostage.bundle.store import Store;"
        "from twostage.generations.model_config import ModelConfigFile;"
        "file = ModelConfigFile(Path(sys.argv[2]), Store(sys.argv[1])); file.need([1]);"
        "print('needed', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, store.path, path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "needed\n"
        file = ModelConfigFile(path, store)
        file.need([2])
        assert named(file) == {"main": [1, 2]}
    finally:
        process.kill()
        process.wait()
    file.keep()
    assert named(file) == {"main": [2]}
    assert [json.loads(needs.read_text()) for needs in tmp_path.glob("models.config.needs-*")] == [[2]]


def test_what_another_wrote_over_is_written_again(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ("main",))
    file = ModelConfigFile(tmp_path / "models.config", store)
    file.need([1])
    inode = file.path.stat().st_ino
    file.keep()
    assert file.path.stat().st_ino == inode
    file.path.unlink()
    file.keep()
    assert named(file) == {"main": [1]}


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ("main",))
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnwritable, match=r"models\.config\.lock"):
        ModelConfigFile(tmp_path / "file" / "models.config", store).need([1])
