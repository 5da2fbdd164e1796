from __future__ import annotations

from training.commands.train import describe_seconds


def test_the_time_taken_is_told_in_all_and_by_stage() -> None:
    told = describe_seconds({"reading": 1.2, "towers": 60.4, "export": 3.0})
    assert told == "took 65 s: reading 1 s, towers 60 s, export 3 s"
