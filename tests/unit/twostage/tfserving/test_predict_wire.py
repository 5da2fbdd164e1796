"""The request written in pieces, beside the same request written by protobuf."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from twostage.tfserving import TensorError
from twostage.tfserving.messages import ModelSpec, PredictRequest
from twostage.tfserving.predict_wire import encode_request
from twostage.tfserving.tensors import encode

_ARRAYS = npst.arrays(
    st.sampled_from([np.float32, np.float16, np.int64, np.bool_]),
    npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=40),
)


@given(st.dictionaries(st.text(max_size=200), _ARRAYS, max_size=4), st.integers(0, 2**63 - 1))
def test_the_request_parses_to_what_protobuf_would_have_written(
    inputs: dict[str, np.ndarray[Any, Any]], version: int
) -> None:
    parsed = PredictRequest.FromString(encode_request("ranker", version, inputs, signature="s", outputs=("x", "y")))
    expected = PredictRequest(model_spec=ModelSpec(name="ranker", signature_name="s"), output_filter=["x", "y"])
    expected.model_spec.version.SetInParent()
    expected.model_spec.version.value = version
    for name, array in inputs.items():
        expected.inputs[name].CopyFrom(encode(array))
    assert parsed == expected


def test_texts_and_arrays_of_any_layout_are_written() -> None:
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    parsed = PredictRequest.FromString(encode_request("m", None, {"t": transposed, "s": np.array(["a", "b"])}))
    assert not parsed.model_spec.HasField("version")
    assert parsed.inputs["t"].tensor_content == np.array([0, 3, 1, 4, 2, 5], "<f4").tobytes()
    assert list(parsed.inputs["s"].string_val) == [b"a", b"b"]


def test_version_zero_is_asked_for_and_not_the_newest() -> None:
    assert PredictRequest.FromString(encode_request("m", 0, {})).model_spec.HasField("version")


def test_an_array_that_cannot_be_sent_is_refused_by_the_name_of_its_input() -> None:
    with pytest.raises(TensorError, match="input 'items': cannot send an array of datetime64"):
        encode_request("m", 1, {"items": np.zeros(2, "datetime64[D]")})
