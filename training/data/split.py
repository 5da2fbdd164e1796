"""How interactions are held out: the split that a data set prescribes."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Dataset, Interactions, Split, SplitKind


def split(dataset: Dataset) -> Split:
    """Divides the interactions into train, validation and test, as the data set's rule says.

    - ``HASHED``: ``crc32(f"{user_id}:{item_id}") % 10``, 0 is test and 1 validation. All actions between a person
      and an item fall on the same side.
    - ``TIME_CUT``: from the cut on is test. Of what is before it the last tenth (by count, in order of time) is
      validation, and with it everything of that tenth's first second; when that leaves nothing to train on, there is
      no validation.
    - ``LEAVE_LAST_OUT``: a person's last interaction is test and the one before it validation, by (time, item id);
      without times by position. Item ids compare as numbers when all of the catalogue are plain decimal numbers, else
      as text. Of two interactions the earlier stays in training, and a single one does.

    Returns:
        Three masks over the interactions: disjoint, covering all.
    """
    rule = dataset.split_rule
    interactions = dataset.interactions
    if rule.kind is SplitKind.HASHED:
        buckets = _hash_buckets(interactions, dataset.catalogue.item_ids)
        test, validation = buckets == 0, buckets == 1
    elif rule.kind is SplitKind.TIME_CUT:
        test, validation = _time_cut(interactions, rule.cut)
    else:
        test, validation = _leave_last_out(interactions, dataset.catalogue.item_ids)
    return Split(train=~(test | validation), validation=validation, test=test)


def cold_item_rows(dataset: Dataset) -> NDArray[np.bool_]:
    """The rows of the catalogue whose items a cold-item experiment holds out whole.

    Returns:
        bool[N], true where ``crc32(f"item:{item_id}") % 10 == 0``.
    """
    ids = dataset.catalogue.item_ids
    buckets = np.fromiter((zlib.crc32(f"item:{item_id}".encode()) % 10 for item_id in ids), np.uint8, count=len(ids))
    return np.asarray(buckets == 0)


def _hash_buckets(interactions: Interactions, item_ids: list[str]) -> NDArray[np.uint8]:
    # A checksum goes on where its prefix ended, so each person's part is summed once.
    prefixes = [zlib.crc32(f"{user_id}:".encode()) for user_id in interactions.user_ids]
    items = [item_id.encode() for item_id in item_ids]
    pairs = zip(interactions.users.tolist(), interactions.rows.tolist(), strict=True)
    sums = (zlib.crc32(items[row], prefixes[user]) for user, row in pairs)
    return (np.fromiter(sums, np.uint32, count=len(interactions)) % 10).astype(np.uint8)


def _time_cut(interactions: Interactions, cut: int | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    times = interactions.times
    if times is None or cut is None:
        raise ValueError(f"a split by time needs {'a cut' if cut is None else 'times'}, there is none")
    test = times >= cut
    before = np.sort(times[~test])
    if len(before) == 0:
        return test, np.zeros_like(test)
    boundary = before[len(before) - max(1, len(before) // 10)]
    if boundary == before[0]:
        return test, np.zeros_like(test)
    return test, ~test & (times >= boundary)


def _leave_last_out(interactions: Interactions, item_ids: list[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    count = len(interactions)
    if interactions.times is None:
        order = np.lexsort((np.arange(count), interactions.users))
    else:
        order = np.lexsort((_id_ranks(item_ids)[interactions.rows], interactions.times, interactions.users))
    users = interactions.users[order]
    ends = np.flatnonzero(np.append(users[1:] != users[:-1], True)) if count else np.zeros(0, np.int64)
    sizes = np.diff(np.concatenate([[-1], ends]))
    test, validation = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    test[order[ends[sizes >= 2]]] = True
    validation[order[ends[sizes >= 3] - 1]] = True
    return test, validation


def _id_ranks(item_ids: list[str]) -> NDArray[np.int64]:
    """Each row's place in the order of ids: as numbers when all are, so that "9" comes before "10"."""
    numeric = all(item_id.isascii() and item_id.isdigit() for item_id in item_ids)
    order = sorted(range(len(item_ids)), key=(lambda row: int(item_ids[row])) if numeric else item_ids.__getitem__)
    ranks = np.empty(len(item_ids), np.int64)
    ranks[order] = np.arange(len(item_ids))
    return ranks
