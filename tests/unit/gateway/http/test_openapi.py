from __future__ import annotations

import json
from typing import Any

import openapi_spec_validator
import pytest

from gateway.http.app import OPENAPI
from gateway.http.build_openapi import main
from tests.unit.gateway.http.faces import Face
from twostage.v1 import common_pb2, gateway_pb2


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(OPENAPI.read_text(encoding="utf-8"))
    return read


def test_the_committed_document_is_what_the_protos_generate() -> None:
    assert main(["--check"]) == 0, "run `python -m gateway.http.build_openapi`"


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    openapi_spec_validator.validate(document)


def test_it_describes_every_method_and_field_by_the_protos_comments(document: dict[str, Any]) -> None:
    methods = {method.name for method in gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"].methods}
    posts = {path: each["post"] for path, each in document["paths"].items() if "post" in each}
    assert {each["operationId"] for each in posts.values()} == {name[0].lower() + name[1:] for name in methods}
    assert posts["/v1/similar-items"]["description"].startswith("Finds items that are like one, whoever asks.")
    schemas = document["components"]["schemas"]
    for message in (gateway_pb2.RecommendRequest, gateway_pb2.Recommendation, common_pb2.Condition):
        properties = schemas[message.DESCRIPTOR.name]["properties"]
        assert list(properties) == [field.json_name for field in message.DESCRIPTOR.fields]
        assert all(each["description"] for each in properties.values())
    assert schemas["RecommendRequest"]["properties"]["count"] == {
        "type": "integer",
        "format": "int32",
        "description": "How many: 1..200, 20 when unset; anything else is INVALID_ARGUMENT.",
    }
    assert schemas["Recommendation"]["properties"]["actionScores"]["additionalProperties"]["type"] == "number"
    assert schemas["RecommendResponse"]["properties"]["generation"]["type"] == "string"
    assert schemas["Event"]["properties"]["time"]["format"] == "date-time"
    assert "- RUNG_POPULAR: Retrieval was late or down: popular items." in schemas["Rung"]["description"]


def test_it_is_served(open_face: Face, document: dict[str, Any]) -> None:
    assert open_face.ask("/openapi.json", method="GET")[:2] == (200, document)
