from __future__ import annotations

import subprocess
import sys

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.unit.twostage.rpc.echo_service.settings import EchoSettings
from twostage.rpc.settings import SettingsError, load_settings
from twostage.rpc.tracing.opening import open_tracer

ENDPOINT = "http://collector:4317"


def settings(**flags: object) -> EchoSettings:
    return load_settings(EchoSettings, flags)


@pytest.mark.parametrize(
    "endpoint",
    ["collector:4317", "collector", "ftp://collector:4317", "http://collector", "http://:4317", "http://c:x"],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"--trace-endpoint: expected http://host:port or https://host:port, rec"):
        settings(trace_endpoint=endpoint)


@pytest.mark.parametrize("share", [-0.1, 1.1, "some"])
def test_a_share_is_a_part(share: object) -> None:
    with pytest.raises(SettingsError, match="--trace-share: expected "):
        settings(trace_share=share)


def test_without_an_endpoint_there_is_no_tracer() -> None:
    assert open_tracer(settings(), "echo", CollectorRegistry(), structlog.get_logger()) is None


def test_without_the_extra_an_endpoint_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sdk", "spans", "export"):
        monkeypatch.delitem(sys.modules, f"twostage.rpc.tracing.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(SettingsError) as caught:
        open_tracer(settings(trace_endpoint=ENDPOINT), "echo", CollectorRegistry(), structlog.get_logger())
    assert str(caught.value) == (
        "trace_endpoint: expected the extra `tracing` to be installed (pip install 'twostage[tracing]'), "
        f"received '{ENDPOINT}' without it"
    )


def test_a_wrong_variable_of_opentelemetrys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(SettingsError, match=r"trace_endpoint: expected OTEL_\* variables that can be read.*soon"):
        open_tracer(settings(trace_endpoint=ENDPOINT), "echo", CollectorRegistry(), structlog.get_logger())


def test_services_that_trace_nothing_import_nothing_of_opentelemetry() -> None:
    program = (
        "import sys, gateway.server, gateway.http.server, ranking_service.server, retrieval_service.server, "
        "twostage.client\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
