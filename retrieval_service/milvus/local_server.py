"""Milvus inside this process: milvus-lite over a local file, for trials and tests."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from pathlib import Path

from twostage.errors import NotReady

_lock = threading.Lock()
_users: Counter[Path] = Counter()


def start(path: Path) -> str:
    """Starts milvus-lite over a file, or joins the one that this process runs over it.

    Args:
        path: The file, made when it is not there; its folder must be. One process at a time can have it open.

    Returns:
        Its address, ``host:port``. Every start needs its :func:`stop`.

    Raises:
        NotReady: milvus-lite is not installed, or cannot open the file.
    """
    try:
        from milvus_lite.server_manager import server_manager_instance  # noqa: PLC0415 - for trials, seldom installed
    except ImportError as error:
        raise NotReady("a local .db file needs milvus-lite: pip install milvus-lite", str(error)) from error
    # It logs why it cannot open a file with a traceback; one line is told below.
    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
    if not path.parent.is_dir():
        raise NotReady("milvus-lite cannot open its file", f"{path}: its folder is not there")
    with _lock:
        uri = server_manager_instance.start_and_get_uri(str(path))
        if uri is None:
            raise NotReady("milvus-lite cannot open its file", f"{path}: no database, or another process has it open")
        _users[path] += 1
    return str(uri).removeprefix("http://")


def stop(path: Path) -> None:
    """Ends one use of milvus-lite over a file; the last one stops it."""
    from milvus_lite.server_manager import server_manager_instance  # noqa: PLC0415 - as above

    with _lock:
        _users[path] -= 1
        if _users[path] <= 0:
            del _users[path]
            server_manager_instance.release_server(str(path))
