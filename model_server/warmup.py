"""The requests that a model brings along, run before it becomes available."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from model_server.classify import run_classify
from model_server.errors import ServingError, invalid_argument
from model_server.multi_inference import run_multi_inference
from model_server.predict import run_predict
from model_server.record_file import DamagedRecord, read_records
from model_server.regress import run_regress
from model_server.servable import Servable

_LOG = logging.getLogger(__name__)
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_MAX_RECORDS = 1000


def warm_up(servable: Servable, iterations: int = 1) -> int:
    """Runs the recorded requests against a freshly loaded version; one that fails fails the load.

    Args:
        servable: The version; its folder holds the requests, if there are any.
        iterations: How often each request is run; below 1 is 1.

    Returns:
        How many records were read.

    Raises:
        ServingError: DATA_LOSS when the file is no TFRecord file, INVALID_ARGUMENT when there are over 1000 records
            or one is no PredictionLog, UNIMPLEMENTED for a record of a session run, or the request's own error.
    """
    path = servable.path / WARMUP_FILE
    if not path.exists():
        return 0
    record_count = 0
    records = read_records(path)
    while True:
        try:
            record = next(records)
        except StopIteration:
            break
        except DamagedRecord as error:
            raise ServingError(
                grpc.StatusCode.DATA_LOSS,
                f"{error}. Please verify your warmup data is in TFRecord format.",
            ) from None
        log = _parse(record, path)
        for _ in range(max(1, iterations)):
            _run(servable, log)
        record_count += 1
        if record_count > _MAX_RECORDS:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {path}")
    _LOG.info("warmed %s with %d records", servable.path, record_count)
    return record_count


def _parse(record: bytes, path: Path) -> prediction_log_pb2.PredictionLog:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        text = record.decode(errors="replace")
        raise invalid_argument(f"Failed to parse warmup record: {text} from {path}") from None


def _run(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        run_predict(servable, log.predict_log.request, timeout_ms=None, as_content=False)
    elif kind == "classify_log":
        run_classify(servable, log.classify_log.request, None)
    elif kind == "regress_log":
        run_regress(servable, log.regress_log.request, None)
    elif kind == "multi_inference_log":
        run_multi_inference(servable, log.multi_inference_log.request, None)
    elif kind is not None:
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
