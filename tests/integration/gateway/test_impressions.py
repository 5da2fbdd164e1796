"""A real stack logs what it answers, and ``twostage replay`` makes every answer once more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.gateway.fleet import processes, until
from tests.integration.gateway.servers import stop
from twostage.impressions.batches import impression_batch, impressions_of
from twostage.impressions.impression import Impression
from twostage.impressions.log import open_log
from twostage.impressions.schema import IMPRESSION_SCHEMA, IMPRESSIONS, file_metadata
from twostage.impressions.user_key import UserKeys
from twostage.v1 import common_pb2, gateway_pb2, gateway_pb2_grpc

SECRET = "a secret of the tests"
EXPERIMENTS = """\
experiments:
  - name: explore
    where: {surface: [discover]}
    unit: request
    arms:
      - {name: a, parameters: {exploration: {epsilon: 0.4, share: 0.5, pool_count: 20}, candidates: 80}}
  - name: duel
    layer: rankings
    kind: interleave
    unit: request
    where: {surface: [duel]}
    arms: [{name: plain}, {name: spread, parameters: {diversity: 0.6}}]
  - name: sources
    layer: sources
    unit: request
    where: {surface: [sources]}
    arms:
      - {name: few, parameters: {sources: {popular: 5, user_vector: 20}, candidates: 30, blend: {to_read: 1.0}}}
"""
USERS = [f"user-{number}" for number in range(8)]


@dataclass
class Logged:
    """What was served, and its log."""

    store: Path
    folder: Path
    responses: dict[str, gateway_pb2.RecommendResponse]
    users: dict[str, str]

    @property
    def impressions(self) -> dict[str, Impression]:
        batches = open_log(self.folder).impressions()
        return {each.request_id: each for batch in batches for each in impressions_of(batch)}


def requests() -> Iterator[gateway_pb2.RecommendRequest]:
    """All kinds of questions."""
    language = common_pb2.Filter(
        conditions=[
            common_pb2.Condition(attribute="language", any_of=["eng"]),
            common_pb2.Condition(attribute="year", range=common_pb2.Range(min=1930)),
        ]
    )
    spread = common_pb2.Diversity(strength=0.3, caps=[common_pb2.Cap(attribute="tags", max_count=3)])
    for number, user in enumerate(USERS):
        ask = gateway_pb2.RecommendRequest
        yield ask(user_id=user)
        yield ask(user_id=user, filter=language, count=15)
        yield ask(user_id=user, exclude_item_ids=[f"item-{row}" for row in range(number, 120, 2)])
        yield ask(user_id=user, pinned_item_ids=["item-150", "item-9"], include_seen=True)
        yield ask(user_id=user, blend={"rated": 0.3, "to_read": 1.0}, diversity=spread)
        yield ask(user_id=user, interest_tags=["crime"], filter=language, diversity=spread, pinned_item_ids=["item-8"])
        yield ask(recent_item_ids=[f"item-{row}" for row in range(1, 2 + 2 * number)], explain=True, trace=True)
        for surface in ("discover", "duel", "sources"):
            pins = ["item-7"] if number % 2 else []
            yield ask(user_id=user, context=common_pb2.Context(surface=surface), pinned_item_ids=pins)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("impressions")
    (folder / "key").write_text(SECRET + "\n")
    (folder / "experiments.yaml").write_text(EXPERIMENTS)
    flags = {
        "impressions": folder / "log",
        "impressions-key-file": folder / "key",
        "experiments": folder / "experiments.yaml",
    }
    with processes(folder, replica_count=1, **flags) as servers:
        made = Logged(servers.store, folder / "log", {}, {})
        with grpc.insecure_channel(servers.address) as channel:
            stub = gateway_pb2_grpc.RecommendationServiceStub(channel)

            def ask(request: gateway_pb2.RecommendRequest) -> gateway_pb2.RecommendResponse:
                response: gateway_pb2.RecommendResponse = stub.Recommend(request, timeout=5)
                made.responses[response.request_id] = response
                made.users[response.request_id] = request.user_id
                return response

            for user in USERS:
                stub.RecordEvents(gateway_pb2.RecordEventsRequest(events=list(events(user))), timeout=5)
            for request in requests():
                ask(request)
            first = next(iter(made.responses.values()))
            told = gateway_pb2.Event(
                event_id="told", user_id=USERS[0], item_id=first.recommendations[0].item_id, action="to_read"
            )
            told.request_id = first.request_id
            for _ in range(2):
                stub.RecordEvents(gateway_pb2.RecordEventsRequest(events=[told]), timeout=5)
            for process in servers.ranking:
                stop(process)
            until(lambda: ask(gateway_pb2.RecommendRequest(user_id=USERS[1])).rung == gateway_pb2.RUNG_RETRIEVAL_ORDER)
            for process in servers.retrieval:
                stop(process)
            until(lambda: ask(gateway_pb2.RecommendRequest(user_id=USERS[1])).rung == gateway_pb2.RUNG_CACHED)
            until(lambda: ask(gateway_pb2.RecommendRequest(count=5)).rung == gateway_pb2.RUNG_POPULAR)
        stop(servers.gateway)
    assert not [line for line in servers.lines if "Traceback" in line]
    return made


def events(user: str) -> Iterator[gateway_pb2.Event]:
    """A history with actions, values and times."""
    number = USERS.index(user)
    for place in range(3 + 2 * number):
        event = gateway_pb2.Event(
            event_id=f"{user}-{place}", user_id=user, item_id=f"item-{1 + (7 * place + number) % 16}"
        )
        event.action = "to_read" if place % 3 == 0 else "rated"
        if event.action == "rated":
            event.value = 4 + place % 2
        event.time.seconds = 1_700_000_000 + 86_400 * place
        yield event


def test_every_answer_is_in_the_log_when_the_gateway_has_ended(logged: Logged) -> None:
    impressions = logged.impressions
    assert impressions.keys() == logged.responses.keys()
    keys = UserKeys(SECRET.encode())
    for request_id, response in logged.responses.items():
        impression = impressions[request_id]
        assert list(impression.item_ids) == [item.item_id for item in response.recommendations]
        assert list(impression.scores) == [item.score for item in response.recommendations]
        assert list(impression.propensities) == [item.propensity for item in response.recommendations]
        assert impression.user_key == keys.user(logged.users[request_id])
        arms = [(arm.experiment, arm.arm) for arm in response.arms]
        assert list(zip(impression.experiments, impression.arms, strict=True)) == arms


def test_every_kind_of_answer_is_there(logged: Logged) -> None:
    impressions = list(logged.impressions.values())
    rungs = {each.rung for each in impressions}
    assert rungs >= {"FULL", "RETRIEVAL_ORDER", "CACHED", "POPULAR"}
    full = [each for each in impressions if each.rung == "FULL"]
    assert sum(min(each.propensities) < 1.0 for each in full if each.exploration_epsilon) >= 4
    assert sum({"plain", "spread"} <= set(each.teams) for each in full) >= 4
    assert sum(bool(each.source_quotas) for each in full) >= 8


def test_events_are_there_once_under_the_key_of_their_person(logged: Logged) -> None:
    table = open_log(logged.folder).events().to_pylist()
    assert len(table) == sum(3 + 2 * number for number in range(len(USERS))) + 1
    first = next(iter(logged.responses.values()))
    (told,) = [event for event in table if event["request_id"]]
    assert told["request_id"] == first.request_id
    assert told["user_key"] == logged.impressions[first.request_id].user_key


def test_replay_makes_every_answer_again(logged: Logged) -> None:
    replayed = replay(logged)
    told = f"{len(logged.responses)} of {len(logged.responses)} answers reproduced, 0 different, 0 not replayed"
    assert told in replayed.stdout, replayed.stdout + replayed.stderr
    assert replayed.returncode == 0


def test_replay_says_what_differs_and_ends_with_1(logged: Logged, tmp_path: Path) -> None:
    impression = next(each for each in logged.impressions.values() if each.rung == "RETRIEVAL_ORDER")
    ids = list(impression.item_ids)
    ids[0], ids[-1] = ids[-1], ids[0]
    schema = IMPRESSION_SCHEMA.with_metadata(file_metadata(IMPRESSIONS, ""))
    table = pa.Table.from_batches([impression_batch([impression._replace(item_ids=ids)])]).cast(schema)
    pq.write_table(table, tmp_path / "impressions-1.parquet")
    replayed = replay(logged, log=tmp_path, request_id=impression.request_id)
    assert replayed.returncode == 1
    assert "0 of 1 answers reproduced, 1 different" in replayed.stdout
    assert "retrieval: at position 1" in " ".join(replayed.stdout.split())


def replay(
    logged: Logged, *, log: Path | None = None, request_id: str | None = None
) -> subprocess.CompletedProcess[str]:
    chosen = [] if request_id is None else ["--request-id", request_id]
    command = [sys.executable, "-m", "twostage.cli", "replay", "--store", str(logged.store)]
    return subprocess.run(
        [*command, "--log", str(log or logged.folder), *chosen],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "COLUMNS": "200"},
    )
