"""The versions of a model on disk, and which of them its policy asks for."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from model_server.config import ModelConfig

_LOG = logging.getLogger(__name__)
# What counts as an int64 to the real server: a sign and blanks around it do, as in ``atoi``.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_INT64 = range(-(2**63), 2**63)


class BasePathMissingError(Exception):
    """The base path cannot be listed; the versions it held go on being served."""


def versions_on_disk(base_path: Path) -> dict[int, Path]:
    """Lists the children whose names are numbers; ``00012`` is 12.

    Returns:
        The path by version. Of two names for one number, the last in alphabetical order counts.

    Raises:
        BasePathMissingError: The path is missing or cannot be read.
    """
    try:
        names = sorted(entry.name for entry in base_path.iterdir())
    except OSError as error:
        raise BasePathMissingError(f"Could not find base path {base_path}: {error.strerror}") from error
    except ValueError as error:
        # A path that holds a zero.
        raise BasePathMissingError(f"Could not find base path {base_path}: {error}") from error
    found: dict[int, Path] = {}
    for name in names:
        number = _NUMBER.fullmatch(name)
        if number is not None and int(number[1]) in _INT64:
            found[int(number[1])] = base_path / name
    return found


def aspired_versions(model: ModelConfig) -> dict[int, Path]:
    """Gives the versions that should be served now.

    Raises:
        BasePathMissingError: The base path is missing or cannot be read.
    """
    found = versions_on_disk(model.base_path)
    policy = model.policy
    if policy.specific is not None:
        chosen = policy.specific & found.keys()
        for version in sorted(policy.specific - found.keys()):
            _LOG.warning("version %d of model %s is asked for and not on disk", version, model.name)
    elif policy.latest_count is not None:
        chosen = frozenset(sorted(found, reverse=True)[: policy.latest_count])
    else:
        chosen = frozenset(found)
    if not chosen:
        _LOG.warning(
            "no versions of model %s under %s; a version is a folder named by a number", model.name, model.base_path
        )
    return {version: found[version] for version in sorted(chosen)}
