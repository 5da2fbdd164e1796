"""How well a ranker's probabilities of every action fit what people did with its candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training.data.dataset import Dataset, Split
from training.evaluation.metrics import find_hits
from training.evaluation.problem import sample_users
from training.evaluation.reliability import Reliability, measure_reliability
from training.evaluation.stages import SharedCandidates, Stages, rank_for


class PeopleTested:
    """People who did something new in the test part, whatever it was, and what that was.

    These are the people that a ranker is calibrated to, one part of the split later: who asks for recommendations may
    do any of the actions, or one of them only.

    Args:
        dataset: What people did.
        split: Its masks.
        user_limit: The most people, drawn by :func:`training.evaluation.problem.sample_users`.
        seed: Seed of the draw.
    """

    def __init__(self, dataset: Dataset, split: Split, user_limit: int | None = None, seed: int = 0) -> None:
        interactions = dataset.interactions
        item_count = len(dataset.catalogue)
        keys = interactions.users.astype(np.int64) * item_count + interactions.rows
        new = split.test & ~np.isin(keys, keys[~split.test])
        self.users = sample_users(interactions.user_ids, np.unique(interactions.users[new]), user_limit, seed)
        self._done: dict[str, csr_array] = {}
        for action in dataset.actions.names:
            labels = dataset.actions.label(action, interactions.recorded, interactions.actions, interactions.values)
            done = new & labels
            pairs = csr_array(
                (np.ones(int(done.sum()), np.float32), (interactions.users[done], interactions.rows[done])),
                shape=(len(interactions.user_ids), item_count),
            )
            pairs.sum_duplicates()
            self._done[action] = pairs

    def labels(self, user: int, rows: NDArray[np.integer], action: str) -> NDArray[np.bool_]:
        """bool[n]: what the person did with each of these items."""
        found: NDArray[np.bool_] = find_hits(np.asarray(rows, np.int32)[None, :], self._done[action][[user]])[0]
        return found


def measure_calibration(
    stages: Stages, candidates: SharedCandidates, people: PeopleTested, ranker: str = ""
) -> dict[str, Reliability]:
    """Measures every action of a ranker over all candidates of some people.

    Args:
        stages: The engines.
        candidates: What is ranked; what people have is not among it.
        people: Who is asked for, and what they did.
        ranker: Which of the generation's rankers; the default one when empty.

    Returns:
        By action, in the ranker's order.
    """
    actions = stages.ranking.ranker(ranker).entry.actions
    said: dict[str, list[NDArray[np.float32]]] = {action: [np.zeros(0, np.float32)] for action in actions}
    done: dict[str, list[NDArray[np.bool_]]] = {action: [np.zeros(0, np.bool_)] for action in actions}
    for user in people.users.tolist():
        items = rank_for(stages, candidates, user, ranker)
        if items is None:
            continue
        for column, action in enumerate(items.actions):
            said[action].append(items.action_scores[:, column])
            done[action].append(people.labels(user, items.rows, action))
    return {
        action: measure_reliability(np.concatenate(done[action]), np.concatenate(said[action])) for action in actions
    }
