"""Adds a gateway's log to a data set: what people did as interactions, what they only saw as exposures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.data.assemble import last_repeats
from training.data.dataset import Dataset, Exposures, Interactions, Logged, SplitKind, SplitRule
from training.data.errors import DataError
from twostage.impressions.errors import LogError
from twostage.impressions.log import Log, open_log
from twostage.impressions.user_key import UserKeys, read_secret

_PREFIX = "log:"
"""Before the keys of people of whom the data set knows nothing."""


def add_log(dataset: Dataset, path: Path, key_file: Path | None = None) -> Dataset:
    """Reads a log and puts it behind a data set's interactions.

    Events become interactions with the recorded actions of the data set; each event counts once. Answers become
    exposures: items that were shown to a person who did nothing with them. People are known by their keys; with the
    secret the data set's own people are recognised among them, without it all are other people.

    Where the data set has no times, the log's interactions follow its own in their order. Where nobody does the same to
    an item twice in it, the last time is kept again. A cut in time moves on, so that the same part of the interactions
    is test as before.

    Args:
        dataset: The catalogue, the meaning of the actions, and what is known without the log.
        path: The log's folder.
        key_file: The secret behind the user keys.

    Raises:
        DataError: The log cannot be read, has no people, or is keyed by another secret.
    """
    try:
        log = open_log(path)
        keys = _keys(log, path, key_file)
        events = log.events()
        people = _People(dataset.interactions.user_ids, keys)
        done = _done(dataset, events, people)
        shown = _shown(dataset, log, people)
    except LogError as error:
        raise DataError(str(path), None, None, str(error).removeprefix(f"{path}: ")) from error
    if not people.count and (len(events) or log.impression_count()):
        raise DataError(str(path), None, None, "expected people in the log, it was written without a secret")
    base = dataset.interactions
    added = _joined(replace(base, user_ids=[*base.user_ids, *people.new_ids]), done)
    item_count = len(dataset.catalogue)
    kept_ones = np.ones(len(added), np.bool_)
    if last_repeats(base, item_count).all():
        kept_ones = last_repeats(added, item_count)
    kept = added.take(kept_ones)
    return replace(
        dataset,
        interactions=kept,
        split_rule=_moved(dataset, kept),
        fingerprint=_fingerprint(dataset, log),
        notes=(*dataset.notes, *_notes(log, events, done, people, shown)),
        logged=Logged(
            interaction_count=int(kept_ones[len(base) :].sum()),
            user_count=len(people.new_ids),
            exposures=_without_acted(shown, kept, item_count),
        ),
    )


class _People:
    """The positions of people: the data set's own, where the secret tells who they are, then new ones."""

    def __init__(self, user_ids: list[str], keys: UserKeys | None) -> None:
        self._positions = {} if keys is None else {keys.user(user_id): place for place, user_id in enumerate(user_ids)}
        self.known_count = len(self._positions)
        self._first = len(user_ids)
        self._met: set[str] = set()
        self.new_ids: list[str] = []

    @property
    def count(self) -> int:
        """How many people of the log were met."""
        return len(self._met)

    @property
    def recognised_count(self) -> int:
        """How many of them are the data set's own."""
        return len(self._met) - len(self.new_ids)

    def positions(self, keys: pa.Array | pa.ChunkedArray) -> NDArray[np.int32]:
        """int32, the position of each key's person; -1 for nobody."""
        encoded = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
        encoded = encoded.dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        places = np.array([self._position(key) for key in encoded.dictionary.to_pylist()] or [-1], np.int32)
        return places[encoded.indices.to_numpy(zero_copy_only=False)] if len(encoded) else np.empty(0, np.int32)

    def _position(self, key: str) -> int:
        if not key:
            return -1
        self._met.add(key)
        place = self._positions.get(key)
        if place is None:
            place = self._positions[key] = self._first + len(self.new_ids)
            self.new_ids.append(_PREFIX + key)
        return place


@dataclass(frozen=True)
class _Done:
    """The log's interactions in the order of time, as columns of :class:`Interactions`; and what was left out."""

    users: NDArray[np.int32]
    rows: NDArray[np.int32]
    actions: NDArray[np.int16]
    values: NDArray[np.float32]
    times: NDArray[np.int64]
    left_out: Mapping[str, int]


def _done(dataset: Dataset, events: pa.Table, people: _People) -> _Done:
    users = people.positions(events.column("user_key"))
    rows = _places(events.column("item_id"), dataset.catalogue.item_ids)
    actions = _places(events.column("action"), list(dataset.interactions.recorded))
    times = _seconds(events.column("time"))
    fits = (users >= 0) & (rows >= 0) & (actions >= 0)
    order = np.flatnonzero(fits)
    order = order[np.argsort(times[order], kind="stable")]
    values = pc.fill_null(events.column("value"), float("nan")).to_numpy().astype(np.float32)
    left_out = {
        "nobody": int((users < 0).sum()),
        "unknown items": int(((users >= 0) & (rows < 0)).sum()),
        "unknown actions": int(((users >= 0) & (rows >= 0) & (actions < 0)).sum()),
    }
    return _Done(users[order], rows[order], actions[order].astype(np.int16), values[order], times[order], left_out)


def _shown(dataset: Dataset, log: Log, people: _People) -> Exposures:
    """Every item that was shown to somebody, each once, when it was shown last."""
    item_count = len(dataset.catalogue)
    known = pa.array(dataset.catalogue.item_ids, pa.string())
    last: dict[int, int] = {}
    for pairs, times in _showings(log, people, known, item_count):
        for pair, time in zip(pairs.tolist(), times.tolist(), strict=True):
            if time > last.get(pair, -1):
                last[pair] = time
    pairs = np.fromiter(last, np.int64, len(last))
    order = np.argsort(pairs)
    pairs, times = pairs[order], np.fromiter(last.values(), np.int64, len(last))[order]
    return Exposures((pairs // item_count).astype(np.int32), (pairs % item_count).astype(np.int32), times)


def _showings(
    log: Log, people: _People, known: pa.Array, item_count: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for batch in log.impressions(["user_key", "time", "item_ids"]):
        shown = batch.column("item_ids")
        answers = pc.list_parent_indices(shown).to_numpy()
        rows = pc.fill_null(pc.index_in(pc.list_flatten(shown), value_set=known), -1).to_numpy().astype(np.int64)
        users = people.positions(batch.column("user_key")).astype(np.int64)[answers]
        times = _seconds(batch.column("time"))[answers]
        fits = (users >= 0) & (rows >= 0)
        yield users[fits] * item_count + rows[fits], times[fits]


def _without_acted(shown: Exposures, interactions: Interactions, item_count: int) -> Exposures:
    acted = interactions.users.astype(np.int64) * item_count + interactions.rows
    kept = ~np.isin(shown.users.astype(np.int64) * item_count + shown.rows, acted)
    return Exposures(shown.users[kept], shown.rows[kept], shown.times[kept])


def _joined(base: Interactions, done: _Done) -> Interactions:
    return replace(
        base,
        users=np.concatenate([base.users, done.users]),
        rows=np.concatenate([base.rows, done.rows]),
        actions=np.concatenate([base.actions, done.actions]),
        values=np.concatenate([base.values, done.values]),
        times=None if base.times is None else np.concatenate([base.times, done.times]),
    )


def _moved(dataset: Dataset, kept: Interactions) -> SplitRule:
    rule = dataset.split_rule
    if rule.kind is not SplitKind.TIME_CUT or rule.cut is None or kept.times is None:
        return rule
    before = dataset.interactions.times
    share = float((before >= rule.cut).mean()) if before is not None and len(before) else 0.0
    if share == 0.0:
        return rule
    return SplitRule(rule.kind, int(np.quantile(kept.times, 1.0 - share, method="lower")))


def _keys(log: Log, path: Path, key_file: Path | None) -> UserKeys | None:
    if key_file is None:
        return None
    try:
        keys = UserKeys(read_secret(key_file))
    except (OSError, ValueError) as error:
        raise DataError(str(key_file), None, None, f"expected the secret of the log: {error}") from error
    if keys.fingerprint not in log.secret_fingerprints:
        told = ", ".join(sorted(log.secret_fingerprints)) or "none"
        raise DataError(str(path), None, None, f"expected a log of this secret ({keys.fingerprint}), found {told}")
    return keys


def _fingerprint(dataset: Dataset, log: Log) -> str:
    names = [f"{path.name}:{path.stat().st_size}" for path in (*log.impression_files, *log.event_files)]
    return hashlib.sha256("\n".join([dataset.fingerprint, *names]).encode()).hexdigest()


def _notes(log: Log, events: pa.Table, done: _Done, people: _People, shown: Exposures) -> Iterator[str]:
    yield (
        f"log: {len(events):,} events and {log.impression_count():,} answers; {len(done.users):,} events read, of "
        f"{people.count:,} people, {people.recognised_count:,} of them the data set's; {len(shown.users):,} items shown"
    )
    left_out = ", ".join(f"{count:,} of {what}" for what, count in done.left_out.items() if count)
    if left_out:
        yield f"log: left out are events {left_out}"
    if len(log.secret_fingerprints) > 1:
        yield f"log: {len(log.secret_fingerprints)} secrets, so one person may be several"


def _places(names: pa.ChunkedArray, known: list[str]) -> NDArray[np.int32]:
    found = pc.fill_null(pc.index_in(names, value_set=pa.array(known, pa.string())), -1)
    return np.asarray(found.to_numpy(), np.int32)


def _seconds(times: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(times.cast(pa.int64()).to_numpy() // 1_000_000, np.int64)
