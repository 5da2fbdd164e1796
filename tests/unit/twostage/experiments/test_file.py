from __future__ import annotations

from pathlib import Path

import pytest

from twostage.experiments.errors import ExperimentsInvalid
from twostage.experiments.file import MAX_FILE_BYTES, read_experiments
from twostage.experiments.parameters import Parameters

EXAMPLE = Path(__file__).parents[4] / "examples" / "experiments.yaml"
AN_ARM = "arms: [{name: a}]"


def complaints(tmp_path: Path, text: str | bytes) -> tuple[str, ...]:
    path = tmp_path / "experiments.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ExperimentsInvalid) as caught:
        read_experiments(path)
    assert str(caught.value).startswith("experiments.yaml: ")
    assert "\n" not in str(caught.value)
    return caught.value.complaints


def test_the_example_is_right() -> None:
    assignment = read_experiments(EXAMPLE)
    assert [experiment.name for experiment in assignment.experiments] == [
        "ranker-2",
        "spread",
        "more-candidates",
        "exploration",
    ]
    ranking = [(slot.start, slot.end, slot.experiment.name) for slot in assignment.layers["ranking"]]
    assert ranking == [(0, 500_000, "ranker-2"), (500_000, 750_000, "spread")]
    assert assignment.experiments[0].arms[1].parameters == Parameters(
        ranker="dcn_v2", blend={"read": 1.0, "liked": 2.0}
    )


def test_no_experiments_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text("experiments: []")
    assert read_experiments(path).experiments == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected keys with values, received None"),
        ("{}", "experiments: expected a value, received nothing"),
        ("experiments: x", "experiments: expected a list, received 'x'"),
        ("{experiments: [], experiment: []}", "experiment: expected no such key"),
        ("experiments: [1]", "experiments[0]: expected keys with values, received 1"),
        ("experiments: [{name: e}]", "experiment 'e': arms: expected a value, received nothing"),
        ("experiments: [{arms: [{name: a}]}]", "experiments[0].name: expected a value, received nothing"),
        ("experiments: [{name: e, name: f}]", "expected YAML: the key 'name' twice"),
        ("experiments: [", "expected YAML: while parsing"),
        (b"\xff\xfe\x00", "expected YAML: "),
        ("!!int ''", "expected YAML: "),
        ("!!bool x", "expected YAML: "),
        ("!!timestamp x", "expected YAML: "),
        ("!!set [{a: b}]", "expected YAML: "),
        (
            f"experiments: [{{name: e, traffic: 0x{'f' * 4_000}, {AN_ARM}}}]",
            "experiment 'e': traffic: expected a valid number, received a number of too many digits",
        ),
        (f"experiments: [{{name: e, trafic: 0.1, {AN_ARM}}}]", "experiment 'e': trafic: expected no such key"),
        (
            f"experiments: [{{name: e, traffic: 0, {AN_ARM}}}]",
            "experiment 'e': traffic: expected greater than 0, received 0",
        ),
        (
            f"experiments: [{{name: e, traffic: 1.5, {AN_ARM}}}]",
            "traffic: expected less than or equal to 1, received 1.5",
        ),
        (f"experiments: [{{name: e, traffic: true, {AN_ARM}}}]", "traffic: expected a valid number, received True"),
        (f"experiments: [{{name: e, traffic: .nan, {AN_ARM}}}]", "traffic: expected "),
        (
            f"experiments: [{{name: e, unit: session, {AN_ARM}}}]",
            "unit: expected 'user_id' or 'request', received 'session'",
        ),
        (f"experiments: [{{name: e, kind: bandit, {AN_ARM}}}]", "kind: expected 'ab' or 'interleave'"),
        (f"experiments: [{{name: e, buckets: [5, 5], {AN_ARM}}}]", "buckets: expected the first bucket below"),
        (
            f"experiments: [{{name: e, buckets: [0, 1000001], {AN_ARM}}}]",
            "buckets[1]: expected less than or equal to 1000000",
        ),
        (
            f"experiments: [{{name: e, buckets: [0, 9], traffic: 0.1, {AN_ARM}}}]",
            "expected traffic or buckets, not both",
        ),
        (f"experiments: [{{name: 'a b', {AN_ARM}}}]", "experiment 'a b': name: expected match pattern"),
        (f"experiments: [{{name: e, where: {{surface: []}}, {AN_ARM}}}]", "where.surface: expected "),
        (f"experiments: [{{name: e, where: {{city: [x]}}, {AN_ARM}}}]", "where.city: expected no such key"),
        (
            "experiments: [{name: e, arms: [{name: on}]}]",
            "arms[0].name: expected a valid string, received True, a text in quotes?",
        ),
        ("experiments: [{name: e, arms: [{name: interleaved}]}]", "expected another name than 'interleaved'"),
        ("experiments: [{name: e, arms: [{name: a}, {name: a}]}]", "arms: expected each name once, not 'a' 2 times"),
        (
            "experiments: [{name: e, arms: [{name: a, weight: 0}]}]",
            "arms[0].weight: expected greater than 0, received 0",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {rankers: x}}]}]",
            "arms[0].parameters.rankers: expected no such key",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {candidates: 2001}}]}]",
            "parameters.candidates: expected less than or equal to 2000, received 2001",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {candidates: 10.5}}]}]",
            "parameters.candidates: expected a valid integer",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {sources: {poplar: 3}}}]}]",
            "parameters.sources.poplar: expected 'user_vector', 'popular'",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {sources: {popular: -1}}}]}]",
            "parameters.sources.popular: expected greater than or equal to 0, received -1",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {blend: {click: 0}}}]}]",
            "parameters.blend: expected at least one weight above 0, received {'click': 0",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {blend: {click: .inf}}}]}]",
            "parameters.blend.click: expected ",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {exploration: {epsilon: 2}}}]}]",
            "parameters.exploration.epsilon: expected less than or equal to 1, received 2",
        ),
        (
            "experiments: [{name: e, arms: [{name: a, parameters: {exploration: {share: 0.1}}}]}]",
            "parameters.exploration.epsilon: expected a value",
        ),
        (
            "experiments: [{name: e, kind: interleave, arms: [{name: a}]}]",
            "experiment 'e': expected two arms to interleave, not 1",
        ),
        ("experiments: [{name: e, kind: interleave, arms: [{name: a}, {name: b}]}]", "expected arms that differ"),
        (
            "experiments: [{name: e, kind: interleave, arms: [{name: a}, {name: b, parameters: {candidates: 9}}]}]",
            "override blend, diversity, ranker alone, not candidates (arm 'b')",
        ),
        (
            "experiments: [{name: e, kind: interleave, arms: [{name: a, weight: 2}, {name: b}]}]",
            "expected no weights",
        ),
    ],
)
def test_what_is_wrong_is_told_by_experiment_and_field(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    assert complaint in complaints(tmp_path, text)[0]


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    told = complaints(
        tmp_path, "experiments: [{name: e, traffic: 2, arms: [{name: a, weight: x}]}, {name: f, arms: []}]"
    )
    assert [line.partition(":")[0] for line in told] == ["experiment 'e'", "experiment 'e'", "experiment 'f'"]


def test_a_file_that_is_not_there_or_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentsInvalid, match=r"^gone\.yaml: expected a file that can be read: No such file"):
        read_experiments(tmp_path / "gone.yaml")
    assert "at most 1048576 bytes" in complaints(tmp_path, "#" * (MAX_FILE_BYTES + 1))[0]


TWO = """
experiments:
  - {{name: first, {first}, arms: [{{name: a, parameters: {{{one}}}}}]}}
  - {{name: second, {second}, arms: [{{name: b, parameters: {{{other}}}}}]}}
"""


@pytest.mark.parametrize(
    ("first", "second", "one", "other", "complaint"),
    [
        ("layer: x", "layer: y", "ranker: m", "ranker: n", "received ranker, overlap with 'first' of layer 'x'"),
        ("layer: x", "layer: y", "ranker: m, candidates: 5", "candidates: 6, blend: {a: 1}", "received candidates"),
        (
            "where: {surface: [a, b]}, layer: x",
            "where: {surface: [b]}, layer: y",
            "ranker: m",
            "ranker: n",
            "received ranker",
        ),
        (
            "where: {locale: [de]}, layer: x",
            "where: {locale: [de-AT]}, layer: y",
            "ranker: m",
            "ranker: n",
            "received ranker",
        ),
        (
            "where: {surface: [a]}, layer: x",
            "where: {device: [b]}, layer: y",
            "ranker: m",
            "ranker: n",
            "received ranker",
        ),
        (
            "traffic: 0.6",
            "traffic: 0.5",
            "ranker: m",
            "ranker: n",
            "traffic: expected 0.5 of layer 'default' free in one piece, overlap: 0.4 is left",
        ),
        (
            "buckets: [0, 10]",
            "buckets: [9, 20]",
            "ranker: m",
            "ranker: n",
            "buckets that no other experiment of layer 'default' has, received [9, 20], overlap with 'first' [0, 10]",
        ),
        (
            "traffic: 0.1, unit: request",
            "traffic: 0.1",
            "ranker: m",
            "ranker: n",
            "unit: expected 'request', as 'first' of the same layer 'default' has",
        ),
        (
            "traffic: 0.1, salt: s",
            "traffic: 0.1, salt: s",
            "ranker: m",
            "ranker: n",
            "salt: expected a salt of its own, received 's'",
        ),
        ("traffic: 0.1, salt: second", "traffic: 0.1", "ranker: m", "ranker: n", "salt: expected a salt of its own"),
    ],
)
def test_experiments_that_get_into_each_other_s_way_are_refused(
    tmp_path: Path, first: str, second: str, one: str, other: str, complaint: str
) -> None:
    told = complaints(tmp_path, TWO.format(first=first, second=second, one=one, other=other))
    assert told[0].startswith("experiment 'second': ")
    assert complaint in told[0]


@pytest.mark.parametrize(
    ("first", "second", "one", "other"),
    [
        ("layer: x", "layer: y", "ranker: m", "candidates: 9"),
        ("traffic: 0.5", "traffic: 0.5", "ranker: m", "ranker: n"),
        ("layer: x, enabled: false", "layer: y", "ranker: m", "ranker: n"),
        ("where: {surface: [a]}, layer: x", "where: {surface: [b]}, layer: y", "ranker: m", "ranker: n"),
        ("where: {locale: [de]}, layer: x", "where: {locale: [den, en]}, layer: y", "ranker: m", "ranker: n"),
    ],
)
def test_experiments_that_keep_apart_are_taken(tmp_path: Path, first: str, second: str, one: str, other: str) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(TWO.format(first=first, second=second, one=one, other=other))
    assert len(read_experiments(path).experiments) == 2


def test_an_interleaved_experiment_takes_hold_of_rankings_and_exploration(tmp_path: Path) -> None:
    text = """
experiments:
  - {name: duel, layer: x, kind: interleave, arms: [{name: a}, {name: b, parameters: {ranker: m}}]}
  - {name: chance, layer: y, arms: [{name: c, parameters: {exploration: {epsilon: 0.1}}}]}
  - {name: duel2, layer: z, kind: interleave, arms: [{name: a}, {name: b, parameters: {diversity: 0.5}}]}
"""
    told = complaints(tmp_path, text)
    assert [line.partition(":")[0] for line in told] == [
        "experiment 'chance'",
        "experiment 'duel2'",
        "experiment 'duel2'",
    ]


def test_names_are_given_once(tmp_path: Path) -> None:
    told = complaints(
        tmp_path, f"experiments: [{{name: e, {AN_ARM}, traffic: 0.1}}, {{name: e, {AN_ARM}, traffic: 0.1}}]"
    )
    assert told == ("experiment 'e': name: expected each name once, received it again",)


def test_a_share_takes_the_first_gap_that_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(
        f"""
experiments:
  - {{name: small, traffic: 0.1, {AN_ARM}}}
  - {{name: large, traffic: 0.3, {AN_ARM}}}
  - {{name: fixed, buckets: [200000, 600000], {AN_ARM}}}
  - {{name: last, traffic: 0.1, {AN_ARM}}}
"""
    )
    slots = [(slot.experiment.name, slot.start, slot.end) for slot in read_experiments(path).layers["default"]]
    assert slots == [
        ("small", 0, 100_000),
        ("last", 100_000, 200_000),
        ("fixed", 200_000, 600_000),
        ("large", 600_000, 900_000),
    ]
