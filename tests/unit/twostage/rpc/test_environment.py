from __future__ import annotations

import os
import subprocess
import sys

import pytest

from twostage.rpc.environment import prefer_grpc_polling, set_serving_defaults


def test_what_the_operator_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRPC_EXPERIMENTS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "mine")
    others = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    for name in others:
        # Set first, so that what is set below is undone.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    set_serving_defaults()
    assert os.environ["GRPC_EXPERIMENTS"] == os.environ["OMP_NUM_THREADS"] == "mine"
    assert {os.environ[name] for name in others} == {"1"}


def test_training_started_from_the_command_keeps_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    prefer_grpc_polling()
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("module", ["gateway", "retrieval_service", "ranking_service", "model_server", "twostage.cli"])
def test_grpc_is_not_loaded_before_it_can_be_told(module: str) -> None:
    name = f"{module}.__main__" if module != "twostage.cli" else module
    script = f"import sys, {name}; print('grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
