"""Log files, as a gateway writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from twostage.impressions.batches import event_batch, impression_batch
from twostage.impressions.impression import Impression
from twostage.impressions.logged_event import LoggedEvent
from twostage.impressions.schema import EVENTS, IMPRESSIONS, file_metadata, writer_options
from twostage.impressions.user_key import UserKeys

SECRET = b"a secret of the tests"
KEYS = UserKeys(SECRET)
JANUARY = 1_704_067_200  # 2024-01-01
DAY = 86_400


def done(event_id: str, user: str, item: str, action: str, value: float | None, day: int) -> LoggedEvent:
    """What a person did on a day of January, counted from 0."""
    seconds = JANUARY + day * DAY
    return LoggedEvent(KEYS.event(event_id, user), "r", KEYS.user(user), item, action, value, seconds * 1_000_000)


def shown(user: str, items: Sequence[str], day: int) -> Impression:
    """An answer on a day of January, counted from 0."""
    return Impression(f"{user}-{day}", (JANUARY + day * DAY) * 1_000_000, KEYS.user(user), item_ids=tuple(items))


def write_log(
    folder: Path, events: Sequence[LoggedEvent] = (), answers: Sequence[Impression] = (), keys: UserKeys = KEYS
) -> Path:
    """Writes one more file of each kind that there is something of."""
    folder.mkdir(exist_ok=True)
    number = len(list(folder.iterdir()))
    for kind, batch in ((EVENTS, event_batch(events)), (IMPRESSIONS, impression_batch(answers))):
        if len(batch):
            schema = batch.schema.with_metadata(file_metadata(kind, keys.fingerprint))
            table = pa.Table.from_batches([batch]).cast(schema)
            pq.write_table(table, folder / f"{kind}-{number}.parquet", **writer_options(kind))
    return folder
