"""Imports into a user store in Redis."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.users.forgotten import person_digest
from gateway.users.import_target import ImportProgress
from gateway.users.redis_link import RedisLink
from gateway.users.redis_records import event_record
from gateway.users.redis_scripts import IMPORT
from gateway.users.redis_store import FORGOTTEN, read_digest_key, user_key
from gateway.users.store import MAX_KEPT_EVENT_COUNT, UserStoreUnavailable
from twostage.bundle.histories import UserHistory

_IMPORT_PREFIX = b"twostage:import:"


class RedisImport:
    """A Redis server to import into; implements :class:`gateway.users.import_target.ImportTarget`.

    Args:
        link: The connections, patient ones; closed with this.
        ttl_seconds: How long people are kept who are new; None for ever.
    """

    # Redis does nothing else meanwhile: a hundred histories of a hundred events are some milliseconds.
    people_per_write = 100

    def __init__(self, link: RedisLink, *, ttl_seconds: int | None = None) -> None:
        self._link = link
        self._ttl_seconds = ttl_seconds or 0
        self._digest_key = read_digest_key(link)

    def progress(self, fingerprint: str) -> ImportProgress:
        """How far the import has come; see :meth:`ImportTarget.progress`."""
        key = _IMPORT_PREFIX + fingerprint.encode()
        people, events, finished = self._link.run(
            lambda client: client.execute_command("HMGET", key, "people", "events", "finished")
        )
        return ImportProgress(int(people or 0), int(events or 0), bool(finished))

    def write(self, fingerprint: str, done: ImportProgress, people: Sequence[UserHistory]) -> ImportProgress:
        """Stores people's histories; see :meth:`ImportTarget.write`."""
        people_count = done.people_count + len(people)
        arguments: list[bytes | int] = [done.people_count, people_count, self._ttl_seconds, MAX_KEPT_EVENT_COUNT]
        for person in people:
            entries = list(zip(person.item_ids, person.actions, person.values, person.times, strict=True))
            entries = entries[-MAX_KEPT_EVENT_COUNT:]
            records = b"".join(event_record(*entry) for entry in entries)
            arguments += [person_digest(self._digest_key, person.user_id), len(entries), records]
        keys = [_IMPORT_PREFIX + fingerprint.encode(), FORGOTTEN, *(user_key(person.user_id) for person in people)]
        # Not repeated: the second time would find that somebody else, it, came first.
        event_count = int(self._link.run_script(IMPORT, keys, arguments, repeatable=False))
        if event_count < 0:
            raise UserStoreUnavailable(f"{self._link.address}: another process imports the same histories")
        return ImportProgress(people_count, done.event_count + event_count)

    def finish(self, fingerprint: str, done: ImportProgress) -> None:
        """Notes that an import is whole; see :meth:`ImportTarget.finish`."""
        del done
        key = _IMPORT_PREFIX + fingerprint.encode()
        self._link.run(lambda client: client.execute_command("HSET", key, "finished", 1))

    def close(self) -> None:
        """Closes the connections."""
        self._link.close()
