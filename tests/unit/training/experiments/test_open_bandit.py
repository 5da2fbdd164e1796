from __future__ import annotations

import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest

from training.data.errors import DataError
from training.experiments.off_policy import Shown, ips
from training.experiments.open_bandit import (
    CAMPAIGNS,
    POLICIES,
    BanditLog,
    estimate_policy,
    observed_policy,
    read_bandit_log,
    uniform_policy,
)

HEADER = "timestamp,item_id,position,click,propensity_score\n"


def write(folder: Path, text: str) -> Path:
    (folder / "random").mkdir()
    with gzip.open(folder / "random" / "men.csv.gz", "wt") as file:
        file.write(text)
    return folder


def test_impressions_are_read_with_positions_from_0(tmp_path: Path) -> None:
    write(tmp_path, HEADER + "2019-11-24,1,3,1,0.5\n2019-11-24,0,1,0,0.25\n")
    log = read_bandit_log(tmp_path, "random", "men")
    assert (log.items.tolist(), log.positions.tolist()) == ([1, 0], [2, 0])
    assert (log.clicks.tolist(), log.propensities.tolist()) == ([1.0, 0.0], [0.5, 0.25])
    assert uniform_policy(log).tolist() == [[0.5, 0.5]] * 3


@pytest.mark.parametrize("text", [HEADER, "a,b\n1,2\n", HEADER + "2019,x,1,0,0.5\n"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"men\.csv\.gz: expected impressions"):
        read_bandit_log(write(tmp_path, text), "random", "men")
    with pytest.raises(DataError, match=r"women\.csv\.gz: expected impressions"):
        read_bandit_log(tmp_path, "random", "women")


def test_a_policy_is_told_from_what_it_showed() -> None:
    log = BanditLog(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), np.zeros(4), np.ones(4))
    assert observed_policy(log) == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]))


@pytest.mark.data
@pytest.mark.parametrize("campaign", CAMPAIGNS)
@pytest.mark.parametrize("shown_by", POLICIES)
@pytest.mark.parametrize("clip", [None, 10.0])
def test_real_click_rates_are_estimated_from_the_other_policy_s_impressions(
    campaign: str, shown_by: str, clip: float | None
) -> None:
    """Both rates are estimates: their difference is within what both leave open."""
    root = os.environ.get("TWOSTAGE_TEST_DATA")
    folder = Path(root or "") / "open-bandit-small"
    if not root or not folder.is_dir():
        pytest.skip("needs open-bandit-small in the directory that TWOSTAGE_TEST_DATA names")
    logs = {policy: read_bandit_log(folder, policy, campaign) for policy in POLICIES}
    log = logs.pop(shown_by)
    (other,) = logs.values()
    policy = observed_policy(other) if shown_by == "random" else uniform_policy(log)
    truth = ips(Shown(other.clicks, np.ones(len(other.clicks))))
    for estimate in estimate_policy(log, policy, clip=clip):
        room = 1.96 * math.hypot(estimate.standard_error, truth.standard_error)
        assert estimate.value == pytest.approx(truth.value, abs=room)
        assert 0 < estimate.effective_count < 10_000
        # Nothing to clip where each item had the same chance; Thompson's go down to one in a million.
        assert (estimate.clipped_count > 0) is (clip is not None and shown_by == "bts")
