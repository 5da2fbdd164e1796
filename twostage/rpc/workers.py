"""Several processes that serve one port: reserve ▸ load one ▸ load the others ▸ listen together ▸ look after them.

Python runs one thread at a time, so a process answers some thousand requests a second however many cores there are.
Each worker is a whole server, ``python -m <module>`` once more, and listens on the same port; the kernel spreads
connections over those that listen (SO_REUSEPORT, socket(7)). What they read of the store is mapped, so that they share
its pages. This process only looks after them: it loads no gRPC and no faiss, and serves the metrics of all.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from structlog.typing import FilteringBoundLogger

from twostage.processes import describe_exit
from twostage.rpc.address import AddressUnavailable, join_address, reserve
from twostage.rpc.announcement import announce, announcement, is_announcement
from twostage.rpc.complaint import complain
from twostage.rpc.log import configure_logging
from twostage.rpc.metrics_endpoint import MetricsEndpoint
from twostage.rpc.process_group_metrics import ProcessGroupMetrics
from twostage.rpc.settings import ServiceSettings
from twostage.rpc.signals import StopSignals
from twostage.rpc.worker import Worker, is_prepared_line

RESTART_SECONDS = (0.2, 1.0, 3.0, 10.0)
"""How long to wait before a dead worker is started again: after its first death in a row, its second, and so on."""
GIVE_UP_COUNT = 5
"""How often in a row a worker may die before it serves, while no other serves, until all is given up."""
# A worker that lived this long has nothing to do with its deaths before.
_HEALTHY_SECONDS = 60.0
# What a worker may need to end beyond the times that its settings give it.
_SLACK_SECONDS = 10.0
_STOPPED_BY_SIGNAL = (-signal.SIGTERM, -signal.SIGINT)


class WorkersFailed(Exception):
    """The workers cannot serve; one line on standard error has said why, or this says it.

    Args:
        reason: What to say; empty when a worker has said it.
        exit_code: What this process ends with.
    """

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def run_workers(service: str, module: str, flags: Mapping[str, object], settings: ServiceSettings) -> int:
    """Runs a service in several processes until SIGTERM or SIGINT; call it in the main thread.

    The first worker loads alone, so that what keeps it from serving is said once. When all have loaded they begin to
    listen, and one line on standard output says so, as a single server's does. The signals go on to the workers, which
    finish what they work on. A worker that ends by itself is started again.

    Args:
        service: Its short name, e.g. ``ranking``.
        module: What is run, e.g. ``ranking_service``.
        flags: What the command line gave, by field name: text, True, False, or None for what it did not.
        settings: What those flags, the environment and the file came to.

    Returns:
        The exit code: 0 after a signal, 1 when the port cannot be had, a worker's when it could not start, and 1 when
        workers die whenever they are started; one line on standard error says why.
    """
    logger = configure_logging(service, level=settings.log_level, log_format=settings.log_format)
    try:
        with ExitStack() as resources:
            return _Workers(service, module, flags, settings, logger, resources).run()
    except AddressUnavailable as error:
        complain(service, error)
        return 1
    except WorkersFailed as error:
        if str(error):
            complain(service, error)
        return error.exit_code


class _Process:
    """One worker and what is known of it.

    Attributes:
        running: Its process, None when it does not run.
        serving: True once it listens.
        prepared: True once it has loaded.
        death_count: How often in a row it died soon.
        restart_at: When it is started again, by ``time.monotonic()``; None when it is not waiting for that.
    """

    def __init__(self, number: int) -> None:
        self.worker = Worker(number, os.getpid())
        self.running: subprocess.Popen[bytes] | None = None
        self.prepared = self.serving = False
        self.death_count = 0
        self.restart_at: float | None = None
        self.started_at = 0.0
        self._unfinished = b""

    def start(self, command: list[str], environment: Mapping[str, str], gate: int) -> None:
        """Starts it; in a session of its own, so that Ctrl-C reaches it through the parent alone."""
        self.prepared = self.serving = False
        self.restart_at = None
        self.started_at = time.monotonic()
        self._unfinished = b""
        self.running = subprocess.Popen(
            command,
            env={**os.environ, **environment, **self.worker.environment()},
            stdin=gate,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def read_lines(self) -> list[str] | None:
        """The lines that it has written since; None when it has ended."""
        assert self.running is not None
        assert self.running.stdout is not None
        chunk = os.read(self.running.stdout.fileno(), 65536)
        if not chunk:
            return None
        *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


class _Workers:
    """The workers of one port."""

    def __init__(
        self,
        service: str,
        module: str,
        flags: Mapping[str, object],
        settings: ServiceSettings,
        logger: FilteringBoundLogger,
        resources: ExitStack,
    ) -> None:
        self._service = service
        self._settings = settings
        self._logger = logger
        self._signals = resources.enter_context(StopSignals())
        self._port = resources.enter_context(reserve(settings.host, settings.port, service))
        port = int(self._port.getsockname()[1])
        self._address = join_address(settings.host, port)
        # All workers read it when they have loaded; that it is closed lets them listen.
        self._gate, self._gate_holder = os.pipe()
        resources.callback(os.close, self._gate)
        resources.callback(self._open_gate)
        self._selector = resources.enter_context(selectors.DefaultSelector())
        self._selector.register(self._signals, selectors.EVENT_READ)
        self._all = [_Process(number) for number in range(1, settings.process_count + 1)]
        self._command = [
            *(sys.executable, "-m", module),
            *_arguments({**flags, "processes": "1", "port": str(port), "metrics_port": "0"}),
        ]
        self._metrics: ProcessGroupMetrics | None = None
        self._metrics_address: str | None = None
        if settings.metrics_port:
            self._metrics = ProcessGroupMetrics(len(self._all), self._living)
            resources.callback(self._metrics.close)
            endpoint = MetricsEndpoint(
                self._metrics.registry, settings.host, settings.metrics_port, self._not_ready_reason
            )
            resources.callback(endpoint.close)
            self._metrics_address = endpoint.address
        self._announced = False
        self._failure: WorkersFailed | None = None
        self._kill_at: float | None = None
        resources.callback(self._kill)

    def run(self) -> int:
        """Runs until the workers have ended, after a signal or because they cannot serve.

        Raises:
            WorkersFailed: They cannot serve.
        """
        self._start(self._all[0])
        while self._kill_at is None or any(each.running for each in self._all):
            for key, _ in self._selector.select(self._wait_seconds()):
                if key.fileobj is self._signals:
                    self._on_signal()
                else:
                    self._on_output(key.data)
            self._on_time()
        if self._failure is not None:
            raise self._failure
        self._logger.info("stopped")
        return 0

    def _not_ready_reason(self) -> str | None:
        if self._kill_at is not None:
            return "stopping"
        # Read by the endpoint's threads; workers listen together when all have loaded the first time.
        return None if any(each.serving for each in self._all) else "no worker serves yet"

    def _living(self) -> list[int]:
        return [each.running.pid for each in self._all if each.running is not None]

    def _start(self, process: _Process) -> None:
        counting = self._metrics.environment() if self._metrics is not None else {}
        process.start(self._command, counting, self._gate)
        assert process.running is not None
        assert process.running.stdout is not None
        self._selector.register(process.running.stdout, selectors.EVENT_READ, process)
        self._logger.info("worker started", worker=process.worker.number, pid=process.running.pid)

    def _open_gate(self) -> None:
        if self._gate_holder >= 0:
            os.close(self._gate_holder)
            self._gate_holder = -1

    def _on_output(self, process: _Process) -> None:
        lines = process.read_lines()
        if lines is None:
            self._on_end(process)
            return
        for line in lines:
            if is_prepared_line(line):
                process.prepared = True
                self._on_prepared()
            elif is_announcement(line):
                process.serving = True
                self._on_serving(process)
            else:
                announce(line, self._logger)

    def _on_prepared(self) -> None:
        if self._kill_at is not None:
            return
        for each in self._all:
            # Only before all have served once are there some that neither run nor wait for a restart.
            if each.running is None and each.restart_at is None:
                self._start(each)
        if all(each.prepared for each in self._all):
            self._open_gate()

    def _on_serving(self, process: _Process) -> None:
        if self._announced:
            self._logger.info("worker serves again", worker=process.worker.number)
        elif all(each.serving for each in self._all):
            self._announced = True
            self._logger.info(
                "serving",
                address=self._address,
                metrics_address=self._metrics_address,
                process_count=len(self._all),
            )
            announce(announcement(self._service, self._address, self._metrics_address), self._logger)

    def _on_end(self, process: _Process) -> None:
        code = self._reap(process)
        number = process.worker.number
        if self._kill_at is not None:
            if code and code not in _STOPPED_BY_SIGNAL and self._failure is None:
                self._fail(f"worker {number} ended with {describe_exit(code)} while it stopped", 1)
        elif not self._announced:
            # What it exits with it has explained; a signal explains nothing.
            reason = "" if code > 0 else f"worker {number} ended with {describe_exit(code)} before it served"
            self._fail(reason, max(code, 1))
        else:
            self._plan_restart(process, code)

    def _reap(self, process: _Process) -> int:
        """Collects the exit code of a worker that has ended."""
        running = process.running
        assert running is not None
        assert running.stdout is not None
        self._selector.unregister(running.stdout)
        running.stdout.close()
        if self._metrics is None:
            code = running.wait()
            process.running = None
            return code
        # It closed its output, so it is as good as gone; the kernel may need a moment to say so.
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        with self._metrics.reaping:
            code = running.wait()
            process.running = None
        self._metrics.forget_gauges(running.pid)
        return code

    def _plan_restart(self, process: _Process, code: int) -> None:
        now = time.monotonic()
        if process.serving and now - process.started_at > _HEALTHY_SECONDS:
            process.death_count = 0
        process.death_count += 1
        others_serve = any(each.serving and each.running for each in self._all)
        if not process.serving and not others_serve and process.death_count >= GIVE_UP_COUNT:
            how = describe_exit(code)
            self._fail(f"worker {process.worker.number} died {process.death_count} times in a row, last with {how}", 1)
            return
        seconds = RESTART_SECONDS[min(process.death_count, len(RESTART_SECONDS)) - 1]
        process.restart_at = now + seconds
        self._logger.warning(
            "worker died", worker=process.worker.number, how=describe_exit(code), restart_seconds=seconds
        )

    def _fail(self, reason: str, exit_code: int) -> None:
        """Stops what runs; the first reason is the one that is told."""
        if self._failure is None:
            self._failure = WorkersFailed(reason, exit_code)
        if self._kill_at is None:
            # A second signal would cut off what the others still work on.
            self._stop(signal.SIGTERM)

    def _on_signal(self) -> None:
        self._signals.wait(0)
        name = self._signals.received[-1]
        self._logger.info("stopping", signals=self._signals.received)
        self._stop(signal.Signals[name])

    def _stop(self, number: signal.Signals) -> None:
        if self._kill_at is None:
            allowed = self._settings.readiness_seconds + self._settings.grace_seconds + _SLACK_SECONDS
            self._kill_at = time.monotonic() + allowed
        for each in self._all:
            each.restart_at = None
            if each.running is not None:
                each.running.send_signal(number)

    def _wait_seconds(self) -> float | None:
        moments = [each.restart_at for each in self._all if each.restart_at is not None]
        if self._kill_at is not None:
            moments.append(self._kill_at)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._logger.warning("killed workers that did not end", pids=self._living())
            self._kill()
            self._kill_at = now + _SLACK_SECONDS
        for each in self._all:
            if each.restart_at is not None and now >= each.restart_at:
                if self._metrics is not None:
                    self._metrics.restarts.inc()
                self._start(each)

    def _kill(self) -> None:
        """Ends what still runs; nothing does unless we end by a defect of our own."""
        for each in self._all:
            if each.running is not None:
                each.running.kill()


def _arguments(flags: Mapping[str, Any]) -> list[str]:
    """The command line that gives these flags."""
    arguments = []
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            arguments.append(f"--{flag}={value}")
    return arguments
