from __future__ import annotations

import threading

from gateway.impressions.record_queue import Dropped, RecordQueue


def test_records_come_out_in_their_order() -> None:
    queue: RecordQueue[int] = RecordQueue(max_count=5, max_bytes=100)
    assert [queue.offer(number, 1) for number in range(3)] == [None] * 3
    assert queue.take(2) == [0, 1]
    assert queue.take(2) == [2]
    assert queue.take(2) == []


def test_each_bound_refuses_until_there_is_room() -> None:
    queue: RecordQueue[int] = RecordQueue(max_count=2, max_bytes=100)
    assert queue.offer(1, 101) is Dropped.TOO_LARGE
    assert queue.offer(2, 60) is None
    assert queue.offer(3, 41) is Dropped.QUEUE_FULL
    assert queue.offer(4, 40) is None
    assert queue.offer(5, 0) is Dropped.QUEUE_FULL
    assert queue.take(1) == [2]
    assert queue.offer(6, 60) is None


def test_it_wakes_when_it_is_half_full_and_when_it_is_closed() -> None:
    queue: RecordQueue[int] = RecordQueue(max_count=10, max_bytes=100)
    queue.offer(1, 49)
    assert not queue.wake.is_set()
    queue.offer(2, 1)
    assert queue.wake.is_set()
    queue.wake.clear()
    queue.close()
    assert queue.wake.is_set()


def test_a_closed_queue_gives_what_it_has_and_takes_nothing() -> None:
    queue: RecordQueue[int] = RecordQueue(max_count=10, max_bytes=100)
    queue.offer(1, 1)
    queue.close()
    assert queue.offer(2, 1) is Dropped.CLOSED
    assert queue.take(5) == [1]


def test_no_record_is_lost_or_doubled_between_threads() -> None:
    queue: RecordQueue[int] = RecordQueue(max_count=50, max_bytes=10_000)
    refused: list[int] = []
    taken: list[int] = []

    def offer(start: int) -> None:
        numbers = range(start, start + 2_000)
        refused.extend([number for number in numbers if queue.offer(number, 7) is not None])

    threads = [threading.Thread(target=offer, args=(10_000 * place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or len(queue):
        taken += queue.take(16)
    assert sorted(taken + refused) == sorted(10_000 * place + number for place in range(4) for number in range(2_000))
    # All room is given back.
    assert queue.offer(1, 10_000) is None
