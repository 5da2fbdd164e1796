"""Writes ``openapi.json`` from ``protos/``, whose comments generated code does not carry.

Run ``python -m gateway.http.build_openapi`` in a checkout after changing a proto; with ``--check`` it writes nothing
and fails when the committed file differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gateway.http.app import OPENAPI
from gateway.http.openapi_document import openapi_document

PROTOS = Path(__file__).parents[2] / "protos"
GATEWAY_PROTO = "twostage/v1/gateway.proto"


def build() -> str:
    """The document as JSON.

    Raises:
        RuntimeError: The protos cannot be compiled.
    """
    return json.dumps(openapi_document(_compiled(), version=version("twostage")), indent=1, ensure_ascii=False) + "\n"


def _compiled() -> FileDescriptorSet:
    # Of the extra `dev`, and in a process of its own: the compiler crashes beside other libraries that bring their own
    # protobuf, such as pyarrow.
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "descriptors"
        options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={out}"]
        done = subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *options, GATEWAY_PROTO],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"protoc: expected exit code 0, received {done.returncode}: {done.stderr.strip()}")
        return FileDescriptorSet.FromString(out.read_bytes())


def main(arguments: list[str] | None = None) -> int:
    """Writes the file, or with ``--check`` compares it.

    Returns:
        0; with ``--check`` 1 when the committed file differs.
    """
    parser = argparse.ArgumentParser(prog="python -m gateway.http.build_openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the committed file differs")
    check = parser.parse_args(arguments).check
    content = build()
    if check:
        if OPENAPI.is_file() and OPENAPI.read_text(encoding="utf-8") == content:
            return 0
        sys.stderr.write(f"{OPENAPI.name} differs from protos/; run `python -m gateway.http.build_openapi`\n")
        return 1
    OPENAPI.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
