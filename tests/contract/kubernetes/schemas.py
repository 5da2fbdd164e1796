"""Documents against the schemas of the supported Kubernetes versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
from referencing import Registry, Resource

from tests.contract.kubernetes.custom_resources import SHAPES, shape_problems
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.rendered import Document, Rendered, subject_of

VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
OLDEST_AND_NEWEST = (VERSIONS[0], VERSIONS[-1])

_FOLDER = files(kubernetes_validate) / "kubernetes-json-schema"


class Schemas:
    """Checks documents, each distinct one once for every version.

    Strict: a field that the schema does not name is refused.

    Args:
        versions: Of Kubernetes, ``1.30`` to ``1.37``.
    """

    def __init__(self, versions: Sequence[str] = OLDEST_AND_NEWEST) -> None:
        self._versions = versions
        self._found: dict[str, tuple[Problem, ...]] = {}

    def __call__(self, rendered: Rendered) -> Iterator[Problem]:
        """What is wrong with the documents."""
        seen = set()
        for document in rendered.documents:
            identity = (document.get("apiVersion"), document.get("kind"), _name(document), _namespace(document))
            if identity in seen:
                yield Problem("schema", subject_of(document), "expected each document once, found it twice")
            seen.add(identity)
            text = json.dumps(document, sort_keys=True, default=str)
            if text not in self._found:
                self._found[text] = tuple(self._check(document))
            yield from self._found[text]

    def _check(self, document: Document) -> Iterator[Problem]:
        subject = subject_of(document)
        kind = (str(document.get("apiVersion")), str(document.get("kind")))
        if kind in SHAPES:
            yield from (Problem("schema", subject, message) for message in shape_problems(document))
            return
        versions: dict[str, list[str]] = {}
        for version in self._versions:
            validator = _validator(version, *kind)
            if validator is None:
                unknown = f"there is no {kind[0]} {kind[1]}, nor is it a custom resource of custom_resources.py"
                versions.setdefault(unknown, []).append(version)
                continue
            for error in validator.iter_errors(document):
                place = ".".join(map(str, error.absolute_path)) or "document"
                versions.setdefault(f"{place}: {_short(error.message)}", []).append(version)
        for message, found in versions.items():
            yield Problem("schema", subject, f"Kubernetes {', '.join(found)}: {message}")


@cache
def _registry(version: str) -> Registry[Any]:
    content = json.loads((_FOLDER / f"v{version}.0-local-strict" / "_definitions.json").read_text(encoding="utf-8"))
    registry: Registry[Any] = Resource.from_contents(content) @ Registry()
    return registry


@cache
def _validator(version: str, api_version: str, kind: str) -> jsonschema.Draft202012Validator | None:
    """The schema of a kind; None where the version has none."""
    group, _, number = api_version.rpartition("/")
    # The files are named by the first part of the group; what they say of the whole of it decides.
    stem = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    file = _FOLDER / f"v{version}.0-local-strict" / f"{stem}.json"
    if not file.is_file():
        return None
    schema: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    known = schema.get("x-kubernetes-group-version-kind", [])
    if known and {"group": group, "version": number, "kind": kind} not in known:
        return None
    registry = Resource.from_contents(schema) @ _registry(version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


def _name(document: Document) -> str:
    return str((document.get("metadata") or {}).get("name"))


def _namespace(document: Document) -> str:
    return str((document.get("metadata") or {}).get("namespace"))


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + "…"
