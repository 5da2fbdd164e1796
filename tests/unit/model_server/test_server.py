"""The process, from its command line to its end."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.ports import free_port
from twostage.tfserving.messages import PREDICT_METHOD, PredictRequest, PredictResponse

_SERVING, _NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def _export_sleeper(path: Path) -> None:
    """Writes a model that keeps a core busy for as many seconds as it is asked."""
    module = tf.Module()

    def serve(seconds: Any) -> dict[str, Any]:
        end = tf.timestamp() + seconds
        return {"steps": tf.while_loop(lambda _: tf.timestamp() < end, lambda i: i + 1, (tf.constant(0),))[0]}

    module.serve = tf.function(serve)
    spec = tf.TensorSpec([], tf.float64, name="seconds")
    tf.saved_model.save(module, str(path), signatures=module.serve.get_concrete_function(seconds=spec))


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sleeper")
    _export_sleeper(base / "1")
    return base


@dataclass
class Served:
    """A server process that says where it listens."""

    process: subprocess.Popen[bytes]
    addresses: list[str]

    @classmethod
    def start(cls, base: Path, log: Path, *flags: str, listener_count: int = 1) -> Served:
        command = [sys.executable, "-m", "model_server", f"--model_base_path={base}", "--model_name=m", *flags]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stderr=output)
        while process.poll() is None:
            addresses = re.findall(r" serving on (\S+)\n", log.read_text())
            if len(addresses) == listener_count:
                return cls(process, addresses)
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def _sleep(channel: grpc.Channel, seconds: float) -> Callable[..., Any]:
    request = PredictRequest()
    request.model_spec.name = "m"
    request.inputs["seconds"].dtype = 2
    request.inputs["seconds"].double_val.append(seconds)
    call = channel.unary_unary(PREDICT_METHOD, PredictRequest.SerializeToString, PredictResponse.FromString)

    def start(timeout: float) -> Any:
        return call.future(request, timeout=timeout)

    return start


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(f"127.0.0.1:{port}", timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@dataclass
class Everything:
    """A server with every listener."""

    served: Served
    rest_port: int
    socket_path: Path


@pytest.fixture(scope="module")
def everything(sleeper: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "monitoring").write_text("prometheus_config { enable: true path: '/metrics' }")
    port = free_port()
    served = Served.start(
        sleeper,
        folder / "log",
        f"--port={free_port()}",
        f"--grpc_socket_path={folder / 's'}",
        f"--rest_api_port={port}",
        f"--monitoring_config_file={folder / 'monitoring'}",
        "--enable_grpc_healthcheck_service",
        "--grpc_max_threads=2",
        "--tensorflow_inter_op_parallelism=1",
        listener_count=2,
    )
    yield Everything(served, port, folder / "s")
    served.end()


def test_tcp_and_the_unix_socket_answer_alike(everything: Everything) -> None:
    assert everything.served.addresses[1] == f"unix:{everything.socket_path}"
    for address in everything.served.addresses:
        with grpc.insecure_channel(address) as channel:
            assert _sleep(channel, 0.0)(20).result().model_spec.version.value == 1


def test_the_rest_port_tells_status_metadata_and_metrics(everything: Everything) -> None:
    status, body = _get(everything.rest_port, "/v1/models/m")
    assert (status, json.loads(body)["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    status, body = _get(everything.rest_port, "/v1/models/m/metadata")
    assert (status, json.loads(body)["model_spec"]["version"]) == (200, "1")
    with grpc.insecure_channel(everything.served.addresses[0]) as channel:
        _sleep(channel, 0.02)(20).result()
    status, page = _get(everything.rest_port, "/metrics")
    assert status == 200
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} ' in page
    run = next(line for line in page.splitlines() if line.startswith(":tensorflow:serving:runtime_latency_sum"))
    assert run.startswith(':tensorflow:serving:runtime_latency_sum{model_name="m",API="Predict",runtime="TF1"} ')
    # Microseconds: the graph alone took 20 ms.
    assert float(run.rpartition(" ")[2]) >= 20_000


def test_health_is_told_under_the_names_of_the_real_server(everything: Everything) -> None:
    with grpc.insecure_channel(everything.served.addresses[0]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "ModelService", "PredictionService"):
            assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == _SERVING
        with pytest.raises(grpc.RpcError) as raised:
            stub.Check(health_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService"))
        assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.NOT_FOUND, "service name unknown")


def test_a_full_server_refuses_calls_and_still_says_that_it_is_well(everything: Everything) -> None:
    with grpc.insecure_channel(everything.served.addresses[0]) as channel:
        held = [_sleep(channel, 1.5)(20) for _ in range(2)]
        time.sleep(0.5)
        error = _sleep(channel, 0.0)(20).exception()
        assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        request = health_pb2.HealthCheckRequest()
        stub: Any = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(request, timeout=1).status == _SERVING
        assert _get(everything.rest_port, "/v1/models/m")[0] == 200
        for one in held:
            one.result()


def test_a_deadline_ends_the_work_not_only_the_wait(everything: Everything) -> None:
    pid = everything.served.process.pid

    def cpu_seconds() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    with grpc.insecure_channel(everything.served.addresses[0]) as channel:
        error = _sleep(channel, 30.0)(0.3).exception()
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        time.sleep(0.5)
        before = cpu_seconds()
        time.sleep(1.0)
        # The graph would have kept a core busy.
        assert cpu_seconds() - before < 0.3


def test_two_servers_on_one_address_are_a_mistake_that_shows_at_once(everything: Everything) -> None:
    port = everything.served.addresses[0].rpartition(":")[2]
    for flag, message in (
        (f"--port={port}", f"cannot listen on 127.0.0.1:{port} for gRPC (--port): Address already in use"),
        (f"--rest_api_port={everything.rest_port}", "for REST (--rest_api_port): Address already in use"),
        (f"--grpc_socket_path={everything.socket_path}", "for gRPC (--grpc_socket_path): Address already in use"),
    ):
        command = [sys.executable, "-m", "model_server", "--model_base_path=/m", "--port=0", flag]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert ended.returncode == 255
        assert message in ended.stderr
        assert "Traceback" not in ended.stderr
        assert "tensorflow" not in ended.stderr.lower()


def _make_certificate(folder: Path, name: str) -> tuple[str, str]:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt"), "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return (folder / f"{name}.key").read_text(), (folder / f"{name}.crt").read_text()


def _write_ssl_config(path: Path, **texts: str) -> Path:
    lines = [f"{name}: {json.dumps(text)}" for name, text in texts.items()]
    path.write_text("\n".join([*lines, "client_verify: true"]))
    return path


def test_tls_asks_for_clients_and_sigterm_lets_calls_in_flight_finish(sleeper: Path, tmp_path: Path) -> None:
    key, certificate = _make_certificate(tmp_path, "server")
    client_key, client_certificate = _make_certificate(tmp_path, "client")
    config = _write_ssl_config(tmp_path / "ssl", server_key=key, server_cert=certificate, custom_ca=client_certificate)
    served = Served.start(
        sleeper, tmp_path / "log", "--port=0", f"--ssl_config_file={config}", "--enable_grpc_healthcheck_service"
    )
    try:
        (address,) = served.addresses
        strangers = (
            grpc.insecure_channel(address),
            grpc.secure_channel(address, grpc.ssl_channel_credentials(certificate.encode())),
        )
        for stranger in strangers:
            assert _sleep(stranger, 0.0)(5).exception().code() is grpc.StatusCode.UNAVAILABLE
            stranger.close()
        known = grpc.ssl_channel_credentials(certificate.encode(), client_key.encode(), client_certificate.encode())
        with grpc.secure_channel(address, known) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(service="ModelService"))
            assert next(watch).status == _SERVING
            in_flight = _sleep(channel, 2.0)(20)
            time.sleep(0.5)
            served.process.send_signal(signal.SIGTERM)
            assert next(watch).status == _NOT_SERVING
            with grpc.secure_channel(address, known) as newcomer:
                assert _sleep(newcomer, 0.0)(5).exception().code() is grpc.StatusCode.UNAVAILABLE
            assert in_flight.result().model_spec.version.value == 1
        # Not after the whole grace, though a watcher of health was there.
        assert served.process.wait(15) == 0
    finally:
        served.end()


def test_a_second_signal_cuts_off_what_the_first_let_finish(sleeper: Path, tmp_path: Path) -> None:
    served = Served.start(sleeper, tmp_path / "log", "--port=0")
    try:
        with grpc.insecure_channel(served.addresses[0]) as channel:
            in_flight = _sleep(channel, 60.0)(90)
            time.sleep(0.5)
            served.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert not in_flight.done()
            served.process.send_signal(signal.SIGINT)
            assert in_flight.exception(10) is not None
        assert served.process.wait(10) == 0
        assert "1 calls or loads did not end in time and are cut off" in (tmp_path / "log").read_text()
    finally:
        served.end()


@pytest.mark.parametrize("broken", ["server_key", "server_cert", "custom_ca"])
def test_tls_that_cannot_work_is_refused_before_anything_is_loaded(broken: str, tmp_path: Path) -> None:
    key, certificate = _make_certificate(tmp_path, "server")
    other_key, _ = _make_certificate(tmp_path, "other")
    texts = {"server_key": key, "server_cert": certificate, "custom_ca": certificate}
    texts[broken] = other_key
    config = _write_ssl_config(tmp_path / "ssl", **texts)
    command = [sys.executable, "-m", "model_server", "--model_base_path=/m", "--port=0", f"--ssl_config_file={config}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 255
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"Failed to start server. Error: --ssl_config_file={config}: expected server_key and server")
