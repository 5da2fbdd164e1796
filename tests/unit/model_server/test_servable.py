"""A SavedModel that is run, warmed, or broken."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from model_server.errors import ServingError
from model_server.predict import run_predict
from model_server.servable import Servable
from model_server.tensor_codec import encode
from model_server.warmup import WARMUP_FILE, warm_up
from tests.unit.model_server.conftest import export_count


@pytest.fixture(params=[0, 1], ids=["pool", "caller's thread"])
def servable(request: pytest.FixtureRequest, model: Path) -> Iterator[Servable]:
    one = Servable(model, config_pb2.ConfigProto(inter_op_parallelism_threads=request.param))
    yield one
    one.close()


def _request(**inputs: list[float]) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(encode(np.array(values, np.float32), as_content=True))
    return request


@pytest.mark.parametrize("as_content", [True, False])
@pytest.mark.parametrize("timeout_ms", [None, 5000])
def test_a_signature_runs_with_or_without_a_timeout(
    servable: Servable, as_content: bool, timeout_ms: int | None
) -> None:
    request = _request(a=[1, 2], b=[10, 20])
    response = run_predict(servable, request, timeout_ms=timeout_ms, as_content=as_content)
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [22, 44]
    assert bool(response.outputs["y"].tensor_content) == as_content
    assert response.model_spec.signature_name == "serving_default"


def test_an_error_of_the_graph_keeps_its_code_and_words(servable: Servable) -> None:
    with pytest.raises(ServingError, match=r"INVALID_ARGUMENT: .*ncompatible shapes"):
        run_predict(servable, _request(a=[1, 2], b=[1, 2, 3]), timeout_ms=None, as_content=False)


def test_a_model_whose_variables_are_cut_off_does_not_load(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "1"
    shutil.copytree(model, broken)
    (content,) = (broken / "variables").glob("*.data-*")
    content.write_bytes(content.read_bytes()[:2])
    with pytest.raises(ServingError) as raised:
        Servable(broken, config_pb2.ConfigProto())
    assert str(raised.value).startswith("OUT_OF_RANGE: Read less bytes than requested\n")


def test_a_graph_that_is_no_saved_model_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(ServingError):
        Servable(tmp_path, config_pb2.ConfigProto())


def test_a_call_that_may_not_end_in_its_time_runs_where_it_can_be_stopped(tmp_path: Path) -> None:
    path = tmp_path / "1"
    export_count(path)
    config = config_pb2.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    servable = Servable(path, config)
    signature = servable.signatures["serving_default"]

    def count(n: int, timeout_ms: int | None) -> int:
        feeds = [(signature.inputs["n"].handle, np.array(n, np.int32))]
        return int(servable.run(feeds, [signature.outputs["n"].handle], timeout_ms)[0])

    # The first call of its kind, and one after a call that took long, are stopped at their time.
    for n in (2_000_000_000, 3, 2_000_000_000):
        begin = time.monotonic()
        if n == 3:
            assert count(n, None) == 3
            continue
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED: Timed out waiting for notification"):
            count(n, 200)
        assert time.monotonic() - begin < 5
    # One that ran in the caller's thread and took longer than it had is no answer either.
    for _ in range(1000):
        assert count(3, None) == 3
    begin = time.monotonic()
    assert count(20_000, None) == 20_000
    took_ms = (time.monotonic() - begin) * 1000
    for _ in range(1000):
        count(3, None)
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED: Timed out waiting for notification"):
        count(20_000, max(2, int(took_ms / 3)))
    servable.close()


@pytest.fixture
def warmed(model: Path, tmp_path: Path) -> Iterator[Servable]:
    """The model in a folder of its own, to which a test may add warm-up requests."""
    path = tmp_path / "1"
    shutil.copytree(model, path)
    (path / "assets.extra").mkdir()
    one = Servable(path, config_pb2.ConfigProto())
    yield one
    one.close()


def _write(servable: Servable, records: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(servable.path / WARMUP_FILE)) as writer:
        for record in records:
            writer.write(record)


def _record(request: predict_pb2.PredictRequest) -> bytes:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    content: bytes = log.SerializeToString()
    return content


def test_warm_up_runs_every_record(warmed: Servable) -> None:
    assert warm_up(warmed) == 0
    _write(warmed, [_record(_request(a=[1], b=[2]))] * 3 + [b""])
    assert warm_up(warmed) == 4


@pytest.mark.parametrize(("iterations", "expected"), [(0, 2), (1, 2), (3, 6)])
def test_warm_up_runs_each_record_as_often_as_told(
    warmed: Servable, monkeypatch: pytest.MonkeyPatch, iterations: int, expected: int
) -> None:
    runs: list[Any] = []
    run = warmed.run

    def count_and_run(*given: Any) -> Any:
        runs.append(given)
        return run(*given)

    monkeypatch.setattr(warmed, "run", count_and_run)
    _write(warmed, [_record(_request(a=[1], b=[2]))] * 2)
    assert warm_up(warmed, iterations) == 2
    assert len(runs) == expected


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([_record(_request(a=[1], b=[2])), _record(_request(a=[1]))], "INVALID_ARGUMENT: input size does not match"),
        (
            [b"\xff\xff\xff"],
            "INVALID_ARGUMENT: Failed to parse warmup record: \ufffd\ufffd\ufffd from .*tf_serving_warmup",
        ),
        ([b""] * 1001, "INVALID_ARGUMENT: Number of warmup records exceeds the maximum"),
    ],
)
def test_one_bad_record_fails_the_warm_up(warmed: Servable, records: list[bytes], message: str) -> None:
    _write(warmed, records)
    with pytest.raises(ServingError, match=message):
        warm_up(warmed)


def test_a_file_that_is_no_tfrecord_is_data_loss(warmed: Servable) -> None:
    (warmed.path / WARMUP_FILE).write_bytes(b"this is text and no record file at all")
    with pytest.raises(ServingError, match="DATA_LOSS: corrupted record at 0"):
        warm_up(warmed)
