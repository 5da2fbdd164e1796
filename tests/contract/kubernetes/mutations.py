"""Breaking one thing of rendered manifests."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.contract.kubernetes.rendered import Document, Rendered, Workload

Break = Callable[[Rendered], object]


def broken(rendered: Rendered, breaks: Break) -> Rendered:
    """A copy of a combination in which one thing was changed in place."""
    copied = replace(rendered, documents=copy.deepcopy(list(rendered.documents)))
    breaks(copied)
    return copied


def document(rendered: Rendered, kind: str, name: str) -> Document:
    """A document by kind and name, or by its name before the hash of its content.

    Raises:
        LookupError: There is none.
    """
    for each in rendered.of_kind(kind):
        found = each["metadata"]["name"]
        if name == found or (found.startswith(f"{name}-") and len(found) == len(name) + 11):
            return each
    raise LookupError(f"{kind} {name}: expected one, found none")


def pod(rendered: Rendered, name: str) -> dict[str, Any]:
    """The pod's spec of a workload, to be changed.

    Raises:
        LookupError: There is none.
    """
    return dict_of(workload(rendered, name).pod)


def workload(rendered: Rendered, name: str) -> Workload:
    """A workload by its name.

    Raises:
        LookupError: There is none.
    """
    for each in rendered.workloads:
        if each.name == name:
            return each
    raise LookupError(f"workload {name}: expected one, found none")


def container(rendered: Rendered, name: str, of: str | None = None) -> dict[str, Any]:
    """A container's spec, to be changed.

    Args:
        rendered: Where.
        name: The container's.
        of: The workload's name; the container's when unset.

    Raises:
        LookupError: There is none.
    """
    found = workload(rendered, of or name).container(name)
    if found is None:
        raise LookupError(f"container {name}: expected one, found none")
    return dict_of(found.spec)


def dict_of(value: Any) -> dict[str, Any]:
    """A part of a document as what it is, which its readers only see as a mapping."""
    assert isinstance(value, dict)
    return value


def replace_text(target: dict[str, Any], key: str, old: str, new: str) -> None:
    """Changes a text that must be there.

    Raises:
        LookupError: It is not there, so that nothing would be broken.
    """
    if old not in target[key]:
        raise LookupError(f"{key}: expected {old!r} in it, found {target[key]!r}")
    target[key] = target[key].replace(old, new)
