"""A user store in Redis, for several gateways."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import redis

from gateway.engine.person import StoredUser
from gateway.engine.taste import TasteRule
from gateway.users import redis_records
from gateway.users.forgotten import KEY_BYTES, person_digest
from gateway.users.redis_link import RedisLink
from gateway.users.redis_scripts import DESCRIBE, EVENTS, FORGET, IMPORTED, RECORD, USER_PREFIX
from gateway.users.store import (
    MAX_KEPT_EVENT_COUNT,
    MAX_SEEN_COUNT,
    KeptEvent,
    NewEvent,
    UserRecord,
    UserStoreUnavailable,
)
from twostage.features.history import HISTORY_LENGTH

FORGOTTEN = b"twostage:forgotten"
"""The set of digests of those who were forgotten."""

_DIGEST_KEY = b"twostage:digest-key"
# Taste is looked for among so many records before all of them are split.
_PAGE = 256


class RedisUserStore:
    """People and what they did in Redis; implements :class:`gateway.users.store.UserStore`.

    A person is one key, so that they expire, are evicted and are removed as a whole. Reading takes one round trip and
    so does recording, however many events and people there are; a batch is stored by a script, all of it or nothing.

    Args:
        link: The connections; closed with the store.
        ttl_seconds: How long after their last new event people are forgotten; None keeps them.
        on_unreadable: Told how many records of somebody were left out because they cannot be read.
    """

    def __init__(
        self, link: RedisLink, *, ttl_seconds: int | None = None, on_unreadable: Callable[[int], None] = lambda _: None
    ) -> None:
        self._link = link
        self._ttl_seconds = ttl_seconds or 0
        self._on_unreadable = on_unreadable
        self._digest_key: bytes | None = None

    def read(
        self,
        user_id: str,
        rule: TasteRule,
        *,
        taste_count: int = HISTORY_LENGTH,
        seen_count: int = MAX_SEEN_COUNT,
    ) -> StoredUser | None:
        """Reads what is known of a person; see :meth:`UserStore.read`."""
        key = user_key(user_id)
        imported, live = self._link.run(lambda client: _fields(client, key, IMPORTED, EVENTS))
        records = imported + live if imported else live
        if not records:
            return None
        unreadable = [0]
        newest = redis_records.newest_first(records, min(_PAGE, seen_count))
        taste = rule.newest(redis_records.read_events(newest, unreadable), taste_count)
        if len(taste) < taste_count and len(newest) == _PAGE < seen_count:
            unreadable = [0]
            newest = redis_records.newest_first(records, seen_count)
            taste = rule.newest(redis_records.read_events(newest, unreadable), taste_count)
        seen = redis_records.read_items(redis_records.newest_piece(records, seen_count), unreadable)
        if unreadable[0]:
            self._on_unreadable(unreadable[0])
        return StoredUser(taste=taste, seen_item_ids=seen) if seen else None

    def record(self, events: Sequence[NewEvent]) -> int:
        """Stores events, all or none; see :meth:`UserStore.record`."""
        by_person: dict[str, list[bytes]] = {}
        for event in events:
            by_person.setdefault(event.user_id, []).extend(
                (
                    event.event_id.encode(),
                    redis_records.name_record(event.event_id, event.request_id),
                    redis_records.event_record(event.item_id, event.action, event.value, event.time_seconds),
                )
            )
        arguments: list[bytes | int] = [self._ttl_seconds, MAX_KEPT_EVENT_COUNT]
        for parts in by_person.values():
            arguments += [len(parts) // 3, *parts]
        return int(self._link.run_script(RECORD, [user_key(user_id) for user_id in by_person], arguments))

    def describe(self, user_id: str, max_event_count: int) -> UserRecord | None:
        """Reads all that is stored of a person; see :meth:`UserStore.describe`."""
        key = user_key(user_id)

        imported, live, names, left_ms = self._link.run_script(DESCRIBE, [key], [])
        event_count = imported.count(redis_records.RECORD) + live.count(redis_records.RECORD)
        if not event_count:
            return None
        newest = redis_records.newest_first(imported + live, max_event_count)
        known_by = list(redis_records.read_names(redis_records.newest_first(names, max_event_count)))
        known_by += [("", "")] * (len(newest) - len(known_by))
        unreadable = [0]
        events = []
        for record, (event_id, request_id) in zip(newest, known_by, strict=False):
            events += [
                KeptEvent(event_id, *columns, request_id) for columns in redis_records.read_events([record], unreadable)
            ]
        if unreadable[0]:
            self._on_unreadable(unreadable[0])
        return UserRecord(event_count, events, time.time() + left_ms / 1000 if left_ms >= 0 else None)

    def forget(self, user_id: str) -> int | None:
        """Removes a person and everything they did; see :meth:`UserStore.forget`."""
        digest = person_digest(self._require_digest_key(), user_id)
        # Not repeated: of a removal whose answer was lost the second one would say that there was nobody.
        count = int(self._link.run_script(FORGET, [user_key(user_id), FORGOTTEN], [digest], repeatable=False))
        return None if count < 0 else count

    def prepare(self) -> None:
        """Makes what removals need, if Redis answers: later its memory may be full, and they must work all the same."""
        with suppress(UserStoreUnavailable):
            self._require_digest_key()

    def close(self) -> None:
        """Closes the connections."""
        self._link.close()

    def _require_digest_key(self) -> bytes:
        if self._digest_key is None:
            self._digest_key = read_digest_key(self._link)
        return self._digest_key


def user_key(user_id: str) -> bytes:
    """The key of a person."""
    return USER_PREFIX + user_id.encode()


def read_digest_key(link: RedisLink) -> bytes:
    """The key of the digests of those who were forgotten, made when there is none.

    Raises:
        UserStoreUnavailable: Redis does not answer.
    """

    def work(client: redis.Redis) -> bytes:
        key = client.execute_command("GET", _DIGEST_KEY)
        if key is None:
            # Of several who find none the first one's stands.
            client.execute_command("SET", _DIGEST_KEY, secrets.token_bytes(KEY_BYTES), "NX")
            key = client.execute_command("GET", _DIGEST_KEY)
        return bytes(key)

    return link.run(work)


def _fields(client: redis.Redis, key: bytes, *names: str) -> list[bytes]:
    return [value or b"" for value in client.execute_command("HMGET", key, *names)]
