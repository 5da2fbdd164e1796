"""Classify, Regress and MultiInference on a model that parses ``tf.Example`` records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

from model_server.classify import run_classify
from model_server.errors import ServingError
from model_server.multi_inference import run_multi_inference
from model_server.regress import run_regress
from model_server.servable import Servable

_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    """``regress`` gives x + 1; ``classify`` two classes with the scores x and -x; ``flat`` a wrong shape."""
    path = tmp_path_factory.mktemp("examples") / "1"

    def read(inputs: Any) -> Any:
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]

    def regress(inputs: Any) -> dict[str, Any]:
        return {"outputs": read(inputs) + 1.0}

    def classify(inputs: Any) -> dict[str, Any]:
        x = read(inputs)
        labels = tf.repeat(tf.constant([["yes", "no"]]), tf.shape(x)[0], axis=0)
        return {"classes": labels, "scores": tf.concat([x, -x], axis=1)}

    def flat(inputs: Any) -> dict[str, Any]:
        return {"scores": read(inputs)[:, 0]}

    module = tf.Module()
    spec = tf.TensorSpec([None], tf.string, name="inputs")
    signatures = {}
    for function in (regress, classify, flat):
        signatures[function.__name__] = tf.function(function).get_concrete_function(inputs=spec)
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(path), signatures=signatures)
    one = Servable(path, config_pb2.ConfigProto())
    yield one
    one.close()


def _fill(given: input_pb2.Input, *values: float) -> None:
    for value in values:
        given.example_list.examples.add().features.feature["x"].float_list.value.append(value)


def test_regress_gives_one_number_for_each_example(servable: Servable) -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.signature_name = "regress"
    _fill(request.input, 1, 2.5)
    response = run_regress(servable, request, None)
    assert [one.value for one in response.result.regressions] == [2, 3.5]
    assert response.model_spec.signature_name == "regress"


def test_a_context_is_part_of_every_example_and_gives_way_to_it(servable: Servable) -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.signature_name = "regress"
    records = request.input.example_list_with_context
    records.context.features.feature["x"].float_list.value.append(10)
    records.examples.add()
    records.examples.add().features.feature["x"].float_list.value.append(1)
    assert [one.value for one in run_regress(servable, request, None).result.regressions] == [11, 2]


def test_classify_gives_labels_and_scores(servable: Servable) -> None:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = "classify"
    _fill(request.input, 1, 2)
    result = run_classify(servable, request, None).result
    told = [[(one.label, one.score) for one in classes.classes] for classes in result.classifications]
    assert told == [[("yes", 1), ("no", -1)], [("yes", 2), ("no", -2)]]


@pytest.mark.parametrize(
    ("signature", "values", "message"),
    [
        ("nosuch", [1.0], "INVALID_ARGUMENT: No signature was found with the name: nosuch"),
        ("classify", [], "INVALID_ARGUMENT: Input is empty."),
        (
            "regress",
            [1.0],
            'INVALID_ARGUMENT: Expected classification signature outputs to contain at least one of "cl',
        ),
        ("flat", [1.0], "INVALID_ARGUMENT: Expected Tensor shape: [batch_size num_classes] but got [1]"),
    ],
)
def test_what_cannot_be_classified_is_refused(
    servable: Servable, signature: str, values: list[float], message: str
) -> None:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = signature
    _fill(request.input, *values)
    with pytest.raises(ServingError) as raised:
        run_classify(servable, request, None)
    assert str(raised.value).startswith(message)


def _tasks(*tasks: tuple[str, str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    _fill(request.input, 4)
    return request


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([("m", "regress", _REGRESS), ("n", "classify", _CLASSIFY)], "INVALID_ARGUMENT: All ModelSpecs in a Multi"),
        ([("m", "regress", _REGRESS)] * 2, "INVALID_ARGUMENT: Duplicate evaluation of signature: regress"),
        ([("m", "nosuch", _REGRESS)], "INVALID_ARGUMENT: Requested signature not found in model graph: nosuch"),
        ([("m", "regress", "tensorflow/serving/predict")], "UNIMPLEMENTED: Unsupported signature method_name: tensorf"),
        ([("m", "regress", _REGRESS), ("", "classify", _CLASSIFY)], "INVALID_ARGUMENT: Found ModelSpec with an empty"),
    ],
)
def test_tasks_that_do_not_go_together_are_refused(
    servable: Servable, tasks: list[tuple[str, str, str]], message: str
) -> None:
    with pytest.raises(ServingError) as raised:
        run_multi_inference(servable, _tasks(*tasks), None)
    assert str(raised.value).startswith(message)


def test_tasks_on_different_inputs_are_all_given_the_examples(servable: Servable) -> None:
    # Each signature of a model exported by TensorFlow 2 has an input tensor of its own.
    first, second = run_multi_inference(
        servable, _tasks(("m", "regress", _REGRESS), ("m", "classify", _CLASSIFY)), None
    ).results
    assert [one.value for one in first.regression_result.regressions] == [5]
    (classes,) = second.classification_result.classifications
    assert [(one.label, one.score) for one in classes.classes] == [("yes", 4.0), ("no", -4.0)]


def test_where_method_names_are_checked_only_the_call_that_was_exported_for_is_answered(
    servable: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever TensorFlow 2 exports says that it is for Predict.
    monkeypatch.setattr(servable, "check_method_names", True)
    regression = regression_pb2.RegressionRequest()
    regression.model_spec.signature_name = "regress"
    classification = classification_pb2.ClassificationRequest()
    classification.model_spec.signature_name = "classify"
    cases: list[tuple[Callable[[], object], str, str]] = [
        (lambda: run_regress(servable, regression, None), "regression", _REGRESS),
        (lambda: run_classify(servable, classification, None), "classification", _CLASSIFY),
        (lambda: run_multi_inference(servable, _tasks(("m", "regress", _REGRESS)), None), "regression", _REGRESS),
    ]
    for run, kind, method in cases:
        with pytest.raises(ServingError) as raised:
            run()
        assert str(raised.value) == (
            f"INVALID_ARGUMENT: Expected {kind} signature method_name to be {method}. Was: tensorflow/serving/predict"
        )


@pytest.mark.parametrize("method", [_REGRESS, _CLASSIFY])
def test_a_task_gives_what_the_call_of_its_own_gives(servable: Servable, method: str) -> None:
    signature = method.rsplit("/", 1)[1]
    (result,) = run_multi_inference(servable, _tasks(("m", signature, method)), None).results
    assert result.model_spec.signature_name == signature
    if method == _REGRESS:
        assert [one.value for one in result.regression_result.regressions] == [5]
    else:
        (classes,) = result.classification_result.classifications
        assert [(one.label, one.score) for one in classes.classes] == [("yes", 4), ("no", -4)]
