"""Files that hold secrets: how they are read, and who else may read them."""

from __future__ import annotations

import os
from pathlib import Path

from structlog.typing import FilteringBoundLogger

# A token of an identity provider has 1 to 4 KB; a key of ours 43 characters.
_MAX_SECRET_BYTES = 16_384


class SecretInvalid(ValueError):
    """A file with a secret cannot be used; the message names the file and never the content."""


def warn_if_others_may_read(path: Path, logger: FilteringBoundLogger) -> bool:
    """Warns when a file with a secret may be read by others than its owner.

    Where the file is another account's, its group may read it: so Kubernetes gives a Secret to whom it does not run as
    root. Nobody could read it otherwise.

    Args:
        path: The file.
        logger: Where the warning goes; it names the file and its mode, never the content.

    Returns:
        True when it warned.
    """
    try:
        state = path.stat()
    except OSError:
        return False
    mode = state.st_mode & 0o777
    if mode & (0o077 if state.st_uid == os.geteuid() else 0o037) == 0:
        return False
    logger.warning("others may read a file with a secret", path=str(path), mode=f"{mode:04o}", expected="0600 or 0400")
    return True


def read_secret(path: Path, setting: str) -> str:
    """Reads a file that holds one secret on one line, e.g. an API key.

    Args:
        path: The file.
        setting: Names it in errors, e.g. ``--api-key-file``.

    Raises:
        SecretInvalid: It cannot be read, or holds anything but one line of printable ASCII. The content is not told.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SecretInvalid(
            f"{setting}: expected a readable file, received {path}: {error.strerror or error}"
        ) from error
    text = content.strip()
    if not text or len(content) > _MAX_SECRET_BYTES or not all(33 <= byte <= 126 for byte in text):
        raise SecretInvalid(
            f"{setting}: expected one line of printable ASCII without spaces, at most {_MAX_SECRET_BYTES} bytes, "
            f"received something else in {path}"
        )
    return text.decode("ascii")
