from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import make_store
from tests.integration.gateway.servers import Servers


@pytest.mark.parametrize("fault", ["flipped byte", "port in use"])
def test_what_it_cannot_start_from_is_told_in_one_line(servers: Servers, tmp_path: Path, fault: str) -> None:
    store, port, message = servers.store, "0", ""
    if fault == "flipped byte":
        store = make_store(tmp_path / "flipped", item_count=50).path
        blob = store / "generations" / "1" / "items" / "titles.blob.npy"
        content = bytearray(blob.read_bytes())
        content[-1] ^= 1
        blob.write_bytes(content)
        message = "titles.blob.npy: expected sha256"
    else:
        port = servers.address.rpartition(":")[2]
        message = f"cannot listen on 127.0.0.1:{port}"
    arguments = [
        "--store",
        str(store),
        "--users",
        str(tmp_path / "users.sqlite"),
        "--port",
        port,
        "--metrics-port",
        "0",
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments, "--metrics-port", "0"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    complaints = [line for line in ended.stderr.splitlines() if line.startswith("gateway: error: ")]
    assert (ended.returncode, len(complaints)) == (1, 1), ended.stderr
    assert message in complaints[0]
    assert "Traceback" not in ended.stderr


def test_the_gateways_process_never_loads_what_models_need() -> None:
    program = (
        "import sys, gateway.server, gateway.__main__, gateway.users.import_histories, twostage.client\n"
        "heavy = {'tensorflow', 'keras', 'faiss', 'ai_edge_litert', 'tensorflow_serving', 'scipy', 'pyarrow'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
