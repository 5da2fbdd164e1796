"""The pool that answers calls."""

from __future__ import annotations

import threading
import time

import pytest

from model_server.call_threads import CallThreads


def _until(condition: object) -> None:
    end = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.001)


def test_the_thread_that_was_busy_last_is_used_again() -> None:
    threads = CallThreads(4)
    release = threading.Event()
    names: list[str] = []
    for _ in range(3):
        threads.submit(release.wait)
    _until(lambda: threads.busy_count == 3)
    release.set()
    _until(lambda: threads.busy_count == 0)
    for number in range(1, 21):
        threads.submit(lambda: names.append(threading.current_thread().name))
        _until(lambda number=number: len(names) == number and threads.busy_count == 0)
    assert len(set(names)) == 1
    threads.shutdown()


def test_everything_runs_once_and_no_more_than_the_limit_at_once() -> None:
    threads = CallThreads(3)
    lock = threading.Lock()
    now, most = 0, 0
    done: list[int] = []

    def work(number: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.001)
        with lock:
            now -= 1
            done.append(number)

    for number in range(200):
        assert threads.submit(work, number).done()
    _until(lambda: len(done) == 200)
    assert sorted(done) == list(range(200))
    assert most == 3
    threads.shutdown()


def test_what_waits_keeps_its_order() -> None:
    threads = CallThreads(1)
    order: list[int] = []
    for number in range(100):
        threads.submit(order.append, number)
    _until(lambda: len(order) == 100)
    assert order == list(range(100))
    threads.shutdown()


def test_a_task_that_raises_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    threads = CallThreads(1)
    ran = threading.Event()

    def fail() -> None:
        raise KeyError("broken")

    threads.submit(fail)
    threads.submit(ran.set)
    assert ran.wait(10)
    assert "a call failed unexpectedly" in caplog.text
    threads.shutdown()


def test_shutdown_ends_idle_threads_and_waits_for_none() -> None:
    threads = CallThreads(2)
    release = threading.Event()
    workers: list[threading.Thread] = []

    def hold() -> None:
        workers.append(threading.current_thread())
        release.wait()

    threads.submit(lambda: workers.append(threading.current_thread()))
    _until(lambda: workers and threads.busy_count == 0)
    threads.submit(hold)
    threads.submit(hold)
    _until(lambda: len(workers) == 3)
    threads.shutdown()
    assert threads.busy_count == 2
    release.set()
    for worker in workers:
        worker.join(10)
        assert not worker.is_alive()
