"""The model server's messages, built at run time from the committed descriptors.

They live in a descriptor pool of their own, so that a process may also load the official modules (a test that holds
one against the other does), and nothing here ever imports TensorFlow.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

# Messages built at run time have no static type.
Message = Any
MessageClass = Any

PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"
METADATA_METHOD = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS_METHOD = "/tensorflow.serving.ModelService/GetModelStatus"


def _build_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for well_known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(well_known.DESCRIPTOR.serialized_pb)
    content = files(__package__).joinpath("descriptors.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.Add(file)
    return pool


_POOL = _build_pool()


def message_class(full_name: str) -> MessageClass:
    """Looks a message class up by its full name, e.g. ``tensorflow.serving.PredictRequest``.

    Raises:
        KeyError: The descriptors hold no such message.
    """
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))


TensorProto = message_class("tensorflow.TensorProto")
TensorShapeProto = message_class("tensorflow.TensorShapeProto")
ModelSpec = message_class("tensorflow.serving.ModelSpec")
PredictRequest = message_class("tensorflow.serving.PredictRequest")
PredictResponse = message_class("tensorflow.serving.PredictResponse")
GetModelMetadataRequest = message_class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = message_class("tensorflow.serving.GetModelMetadataResponse")
SignatureDefMap = message_class("tensorflow.serving.SignatureDefMap")
GetModelStatusRequest = message_class("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = message_class("tensorflow.serving.GetModelStatusResponse")

_DATA_TYPE = _POOL.FindEnumTypeByName("tensorflow.DataType")


def data_type_name(number: int) -> str:
    """Names a TensorFlow data type, e.g. 1 is ``DT_FLOAT``; an unknown number is named as such."""
    value = _DATA_TYPE.values_by_number.get(number)
    return value.name if value is not None else f"unknown data type {number}"
