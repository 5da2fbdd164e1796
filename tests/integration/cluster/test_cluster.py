"""Pods that come, go, vanish and are replaced behind a name server whose records change, under load.

The pods are processes in network namespaces, the names are looked up as everywhere, and the caller is the client. The
tests build on each other's cluster, but each leaves one that serves.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.bundles import make_store
from tests.integration.cluster.load import Load, load, now
from tests.integration.cluster.pods import PORTS, READINESS_SECONDS, Cluster, Pod, shares, until
from tests.integration.cluster.probes import probing

T = TypeVar("T")

STAGES = ("retrieval", "ranking")
ENOUGH = 20
# How long a pod that serves may take to get work: a look-up a second, a connection, a question what it holds.
SHARE_SECONDS = 15.0
# A machine that takes the processor away for longer than a stage has makes an answer lower, whatever the replicas do.
LOWER_SHARE = 0.02


def all_well(running: Load, moment: float) -> None:
    """Waits for more answers and checks that since a moment no request failed and none went without a stage.

    What is left over for lower rungs is that a stage was late: on a busy machine that is the processor's doing.
    """
    settled = now()
    until(lambda: len(running.since(settled)) >= ENOUGH)
    assert not running.failed(moment)
    lower = running.below_full(moment)
    assert all(" late: " in reason or "had time for" in reason for reason in lower), lower
    assert lower.total() <= LOWER_SHARE * len(running.since(moment)), lower
    assert not running.differing()
    assert not running.broken


def settles(running: Load) -> None:
    """Waits until everybody is answered in full, a second long."""
    began = now()

    def full() -> bool:
        nonlocal began
        if len(running.since(began)) < ENOUGH:
            return False
        if running.full(began):
            return True
        began = now()
        return False

    until(full, 60)


def connects_to(gateway: Pod, pod: Pod) -> bool:
    """Whether a gateway has a connection to a pod that it has not given up."""
    # The kernel writes an address in the machine's own order of bytes, behind zeros among those of IPv6, where gRPC's
    # connections are; 01 is ESTABLISHED.
    wanted = socket.inet_aton(pod.host.address)[::-1].hex().upper()

    def rows() -> list[list[str]]:
        return [
            line.split()
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]
        ]

    return any(row[2].split(":")[0].endswith(wanted) and row[3] == "01" for row in gateway.host.run(rows))


def gets_work(pod: Pod, seconds: float = SHARE_SECONDS) -> float:
    """Waits until a pod has answered one more request; how long that took."""
    before = pod.answered_count()
    return until(lambda: pod.answered_count() > before, seconds)


def test_new_replicas_get_their_share_within_seconds(pods: Cluster, running: Load) -> None:
    until(lambda: len(running.answers) >= ENOUGH)
    began = now()
    new = [pod for stage in STAGES for pod in pods.start(stage, 2)]
    pods.join(new)
    seconds = [gets_work(pod) for pod in new]
    assert sum(seconds) < SHARE_SECONDS
    for stage in STAGES:
        parts = shares(pods.pods[stage], 3.0)
        assert len(parts) == 3
        assert min(parts) > 0.5 / 3, parts
    all_well(running, began)


def test_a_gateway_that_joins_gets_its_share_as_connections_age(pods: Cluster, running: Load) -> None:
    began = now()
    (new,) = pods.scale_up("gateway")
    gets_work(new, 30.0)
    parts = shares(pods.pods["gateway"], 3.0)
    assert min(parts) > 0.25, parts
    all_well(running, began)


@pytest.mark.parametrize("fault", ["lost", "refused", "no such name", "no address"])
def test_old_addresses_go_on_while_names_cannot_be_looked_up(pods: Cluster, running: Load, fault: str) -> None:
    settles(running)
    began = now()
    if fault == "lost":
        pods.name_host.cut()
    elif fault == "refused":
        pods.names.stop()
    else:
        for service in PORTS:
            pods.names.set(service, None if fault == "no such name" else [])
    asked = pods.names.query_count
    # Several look-ups long; connections of clients end meanwhile and are made anew.
    time.sleep(3.0)
    assert fault == "no address" or pods.names.query_count == asked
    if fault == "lost":
        pods.name_host.mend()
    elif fault == "refused":
        pods.names.start()
    for service in PORTS:
        pods.publish(service)
    until(lambda: pods.names.query_count > asked)
    all_well(running, began)


def test_a_replica_that_vanishes_without_a_word_costs_nobody_an_answer(pods: Cluster, running: Load) -> None:
    settles(running)
    began = now()
    gone = [pods.pods[stage][0] for stage in STAGES]

    def connections() -> int:
        return sum(connects_to(gateway, pod) for gateway in pods.pods["gateway"] for pod in gone)

    until(lambda: connections() >= len(gone) * len(pods.pods["gateway"]))
    for pod in gone:
        pod.host.cut()
    # No FIN comes: gRPC finds out by itself.
    until(lambda: not connections())
    all_well(running, began)
    for pod in gone:
        pod.host.mend()
    for pod in gone:
        gets_work(pod, 60)
    all_well(running, began)


def test_another_service_at_the_address_of_a_replica_is_not_asked(pods: Cluster, running: Load) -> None:
    settles(running)
    began = now()
    pod = pods.pods["retrieval"][0]
    os.kill(pod.process.pid, signal.SIGKILL)
    pod.process.wait_stopped()
    # Its record stays: whoever keeps an answer for long believes that the replica is still there.
    other = pods.run(pod.host, "ranking", port=PORTS["retrieval"])
    other.wait_serving()
    stranger = Pod("retrieval", pod.host, other)
    until(lambda: any(connects_to(gateway, stranger) for gateway in pods.pods["gateway"]))
    time.sleep(1.0)
    all_well(running, began)
    pods.leave(pod)
    other.terminate()
    other.wait_stopped()
    all_well(running, began)


def test_scaling_down_costs_nobody_an_answer(pods: Cluster, running: Load) -> None:
    settles(running)
    began = now()
    leaving = [pods.pods[stage][-1] for stage in STAGES]
    assert in_parallel([lambda pod=pod: pods.remove(pod) for pod in leaving]) == [0, 0]  # type: ignore[misc]
    all_well(running, began)


def test_probes_are_answered_near_saturation_and_while_a_generation_is_swapped(pods: Cluster, running: Load) -> None:
    everybody = [pod for service in PORTS for pod in pods.pods[service]]
    with probing(pods, everybody) as probes:
        with load(pods, 150.0) as heavy:
            time.sleep(3.0)
        assert heavy.answers
        settles(running)
        began = now()
        make_store(pods.store.path, item_count=210, seed=2, with_models=True)
        pods.write_models()
        until(lambda: running.since(began) and running.since(began)[-1].get("generation") == 2)
        time.sleep(1.0)
    all_well(running, began)
    for pod in everybody:
        for name in ("", "liveness"):
            heard = probes.of(pod, name)
            assert len(heard) >= 3
            assert set(heard) == {"SERVING"}, (pod.service, name, heard)


def test_every_service_is_replaced_at_once_and_nobody_notices(pods: Cluster, running: Load) -> None:
    settles(running)
    began = now()
    old = {service: list(pods.pods[service]) for service in PORTS}
    with probing(pods, [pod for each in old.values() for pod in each]) as probes:
        codes = in_parallel([lambda service=service: pods.roll(service) for service in PORTS])  # type: ignore[misc]
    all_well(running, began)
    assert codes == [[0] * len(old[service]) for service in PORTS]
    for service in PORTS:
        assert not set(pods.pods[service]) & set(old[service])
        assert min(shares(pods.pods[service], 2.0)) > 0
    for pod in [pod for each in old.values() for pod in each]:
        assert set(probes.of(pod, "", end=pod.terminated_at)) <= {"SERVING"}
        assert set(probes.of(pod, "liveness", end=pod.terminated_at + READINESS_SECONDS)) == {"SERVING"}
        drained = probes.of(pod, "", start=pod.terminated_at)
        assert "NOT_SERVING" in drained
        assert "SERVING" not in drained[drained.index("NOT_SERVING") :]


def in_parallel(works: Sequence[Callable[[], T]]) -> list[T]:
    """Runs functions at the same time and returns what they return; raises what the first of them raised."""
    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(lambda work: work(), works))
