"""Files that processes lock to exclude each other; the system lets go when a process dies."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twostage.bundle.errors import StoreUnwritable

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def locked(path: Path, *, needed: bool = True) -> Iterator[None]:
    """Holds an exclusive lock on ``path``, made when absent; waits for other processes and threads.

    Args:
        path: The file. Its folder is made when absent.
        needed: False goes on without a lock where the file system is read-only: nobody changes what is there.

    Raises:
        StoreUnwritable: The file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        if needed or error.errno not in _READ_ONLY:
            raise StoreUnwritable(path, error) from error
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
