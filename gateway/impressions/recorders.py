"""What the gateway tells its log: answers and events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
from prometheus_client import CollectorRegistry

from gateway.engine.served import Served
from gateway.impressions.impression_of import ImpressionMaker
from gateway.impressions.log_folder import LogFolder
from gateway.impressions.log_metrics import LogMetrics
from gateway.impressions.log_writer import LogWriter, Rolling
from gateway.impressions.parquet_content import ParquetContent
from gateway.impressions.record_queue import Dropped
from gateway.users.store import NewEvent
from twostage.impressions.batches import event_batch, impression_batch
from twostage.impressions.impression import Impression
from twostage.impressions.logged_event import LoggedEvent
from twostage.impressions.sampling import is_sampled
from twostage.impressions.schema import EVENTS, IMPRESSIONS
from twostage.impressions.user_key import UserKeys

# The most memory that parts of a record take, in bytes: an id has at most 256 besides Python's own.
_ID_BYTES = 320
_ROW_BYTES = 40
_ITEM_BYTES = 1_024
_ATTRIBUTE_BYTES = 512
_REASONS_BYTES = 4_096
_REST_BYTES = 8_192
_EVENT_BYTES = 6 * _ID_BYTES


class ParquetRecorder:
    """Logs answers; implements :class:`gateway.engine.served.Recorder`.

    An answer is only put into a queue. It is taken apart by the writer's thread, many at a time: what is done once for
    every request finds the processor's caches cold, and takes several times as long.

    Args:
        writer: Writes them.
        share: The part of the answers that is logged, 0..1.
    """

    def __init__(self, writer: LogWriter[Served], share: float = 1.0) -> None:
        self._writer = writer
        self._share = share

    def note(self, served: Served) -> None:
        """Takes an answer; see :meth:`gateway.engine.served.Recorder.note`."""
        try:
            if is_sampled(served.response.request_id, self._share):
                self._writer.offer(served, _byte_count(served))
        except Exception:  # noqa: BLE001 - no answer is lost to its record
            self._writer.drop(Dropped.INVALID)


class EventRecorder:
    """Logs events that were stored; implements :class:`gateway.impressions.event_log.EventLog`.

    Args:
        writer: Writes them.
    """

    def __init__(self, writer: LogWriter[NewEvent]) -> None:
        self._writer = writer

    def note(self, events: Sequence[NewEvent]) -> None:
        """Takes events; see :meth:`gateway.impressions.event_log.EventLog.note`."""
        for event in events:
            self._writer.offer(event, _EVENT_BYTES)


@dataclass(frozen=True)
class Logs:
    """Both logs of one folder.

    Args:
        recorder: Takes answers.
        events: Takes events.
        writers: Write them.
    """

    recorder: ParquetRecorder
    events: EventRecorder
    writers: tuple[LogWriter[Served], LogWriter[NewEvent]]

    @classmethod
    def open(
        cls,
        folder: LogFolder,
        keys: UserKeys,
        registry: CollectorRegistry,
        *,
        rolling: Rolling,
        share: float = 1.0,
        candidate_count: int = 0,
    ) -> Self:
        """Starts the threads that write.

        Args:
            folder: Where to.
            keys: Stand for people.
            registry: Where metrics are registered.
            rolling: When files are complete, and how much may wait.
            share: The part of the answers that is logged, 0..1.
            candidate_count: How many candidates of each answer are kept.
        """
        _warm_up()
        metrics = LogMetrics(registry)
        maker, secret = ImpressionMaker(keys, candidate_count), keys.fingerprint

        def answers_batch(served: Sequence[Served]) -> pa.RecordBatch:
            return impression_batch([maker.make(each) for each in served])

        def events_batch(told: Sequence[NewEvent]) -> pa.RecordBatch:
            return event_batch([_logged(event, keys) for event in told])

        answers = LogWriter(
            IMPRESSIONS, answers_batch, folder, rolling=rolling, metrics=metrics, secret_fingerprint=secret
        )
        events = LogWriter(EVENTS, events_batch, folder, rolling=rolling, metrics=metrics, secret_fingerprint=secret)
        return cls(ParquetRecorder(answers, share), EventRecorder(events), (answers, events))

    def close(self, timeout_seconds: float) -> None:
        """Writes what waits, both logs within one time; see :meth:`gateway.impressions.log_writer.LogWriter.close`."""
        deadline = time.monotonic() + timeout_seconds
        for writer in self.writers:
            writer.stop_taking()
        for writer in self.writers:
            writer.close(max(deadline - time.monotonic(), 0.0))


def _warm_up() -> None:
    """Makes a file in memory and forgets it.

    Arrow loads a good deal with its first records, pandas too where it is installed. Once the server serves, that would
    keep requests waiting, and the garbage collector would walk it again and again.
    """
    for kind, batch in (
        (IMPRESSIONS, impression_batch([Impression("", 0)])),
        (EVENTS, event_batch([LoggedEvent("", "", "", "", "", None, 0)])),
    ):
        content = ParquetContent(kind, "")
        content.add(batch)
        content.finish()


def _logged(event: NewEvent, keys: UserKeys) -> LoggedEvent:
    return LoggedEvent(
        event_key=keys.event(event.event_id, event.user_id),
        request_id=event.request_id,
        user_key=keys.user(event.user_id),
        item_id=event.item_id,
        action=event.action,
        value=event.value,
        time=event.time_seconds * 1_000_000,
    )


def _byte_count(served: Served) -> int:
    """The memory that an answer keeps occupied while it waits, reckoned rather too high."""
    request, ranked, candidates = served.request, served.ranked, served.candidates
    ids = len(request.exclude_item_ids) + len(request.recent_item_ids) + len(request.pinned_item_ids)
    for condition in request.filter.conditions:
        ids += len(condition.any_of) + len(condition.none_of)
    rows = len(served.person.excluded_rows) + (len(candidates) if candidates is not None else 0)
    items = len(served.response.recommendations) + (len(ranked.items) if ranked is not None else 0)
    item_bytes = _ITEM_BYTES + _ATTRIBUTE_BYTES * len(request.attributes)
    if request.explain or request.trace:
        item_bytes += _REASONS_BYTES
    return _REST_BYTES + _ID_BYTES * ids + _ROW_BYTES * rows + item_bytes * items
