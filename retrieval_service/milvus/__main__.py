"""``python -m retrieval_service.milvus push --store DIR --milvus URI``."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Runs the command line; the process's exit code is 0, 1 after a failure, 2 for a wrong use."""
    if find_spec("pymilvus") is None:
        sys.stderr.write("milvus: error: pymilvus is not installed: pip install 'twostage[milvus]'\n")
        sys.exit(1)
    from retrieval_service.milvus.commands import main as command  # noqa: PLC0415 - its libraries may be absent

    command(prog_name="python -m retrieval_service.milvus")


if __name__ == "__main__":
    main()
