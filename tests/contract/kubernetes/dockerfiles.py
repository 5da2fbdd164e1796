"""The Dockerfiles of ``images/``: what they run, as whom, from what."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.contract.kubernetes.problems import Problem

IMAGES = Path(__file__).parents[3] / "images"
OWN_IMAGES = ("twostage/gateway", "twostage/retrieval", "twostage/ranking", "twostage/training", "twostage/load")
SERVING_IMAGES = ("twostage/gateway", "twostage/retrieval", "twostage/ranking", "twostage/load")
"""Images in which there is no TensorFlow."""
TENSORFLOW = frozenset({"tensorflow", "tensorflow-cpu", "keras", "tensorflow-serving-api"})

Instruction = tuple[str, str]


def read_instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile in order, lines that go on joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            found.append((word.upper(), rest.strip()))
    return found


@cache
def instructions(image: str) -> tuple[Instruction, ...]:
    """The instructions of one of our images, ``twostage/gateway``; none where it has no Dockerfile."""
    file = IMAGES / f"{image.removeprefix('twostage/')}.Dockerfile"
    return tuple(read_instructions(file.read_text(encoding="utf-8"))) if file.exists() else ()


def default_command(image: str) -> tuple[list[str], list[str]]:
    """ENTRYPOINT and CMD of one of our images, each empty where it has none or is for a shell."""
    entry, words = _last(instructions(image), "ENTRYPOINT"), _last(instructions(image), "CMD")
    return _exec_form(entry), _exec_form(words)


def check_dockerfiles() -> Iterator[Problem]:
    """What is wrong with our images: rules of Dockerfiles, extras and programs that do not exist, TensorFlow."""
    known = optional_dependencies()
    for image in OWN_IMAGES:
        found = list(instructions(image))
        name = f"images/{image.removeprefix('twostage/')}.Dockerfile"
        if not found:
            yield Problem("image", name, "expected a Dockerfile, found none")
            continue
        yield from check_dockerfile(name, found)
        installed = extras(found)
        if not installed:
            yield Problem("image", name, "expected extras of the project to be installed, found none")
        for extra in sorted(installed - set(known)):
            yield Problem("image", name, f"extra {extra}: expected one of {', '.join(sorted(known))}")
        if image in SERVING_IMAGES:
            heavy = sorted(requirements(installed & set(known)) & TENSORFLOW)
            if heavy:
                yield Problem("image", name, f"extras {', '.join(sorted(installed))}: bring {', '.join(heavy)}")
        entry, words = default_command(image)
        line = [*entry, *words]
        if line[1:2] == ["-m"] and find_spec(line[2]) is None:
            yield Problem("image", name, f"CMD: there is no program {line[2]}")


def optional_dependencies() -> dict[str, list[str]]:
    """The project's extras and what each names, as pyproject.toml states them."""
    content = tomllib.loads((IMAGES.parent / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = content["project"]["optional-dependencies"]
    return found


def requirements(wanted: set[str]) -> set[str]:
    """Every package that extras bring with them, by what those packages say of themselves where they are installed."""
    stated = optional_dependencies()
    content = tomllib.loads((IMAGES.parent / "pyproject.toml").read_text(encoding="utf-8"))
    lines_of_all: list[str] = content["project"]["dependencies"]
    waiting = [Requirement(line) for line in (*lines_of_all, *(each for extra in wanted for each in stated[extra]))]
    found: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name in found:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        for line in lines:
            each = Requirement(line)
            if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                each.marker = None
                waiting.append(each)
    return found


def check_dockerfile(name: str, found: list[Instruction]) -> Iterator[Problem]:
    """The rules of our images.

    Args:
        name: Of the file.
        found: Its instructions.
    """

    def problem(message: str) -> Problem:
        return Problem("image", name, message)

    arguments = {rest.partition("=")[0] for word, rest in found if word == "ARG"}
    stages = {_stage(rest) for word, rest in found if word == "FROM"}
    bases = [rest.split()[0] for word, rest in found if word == "FROM"]
    for base in bases:
        argument = re.fullmatch(r"\$\{?(\w+)\}?.*", base)
        if base not in stages and (argument is None or argument[1] not in arguments):
            yield problem(f"FROM: expected an ARG, which a digest may be given to, found {base}")
    if len(bases) < 2:
        yield problem("FROM: expected several stages, found one")
    after_last = found[max((place for place, (word, _) in enumerate(found) if word == "FROM"), default=0) :]
    user = _last(tuple(after_last), "USER") or ""
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", user):
        yield problem(f"USER: expected numbers above 0 in the last stage, found {user or 'none'}")
    for word in ("ENTRYPOINT", "CMD"):
        text = _last(tuple(after_last), word)
        if text is not None and not _exec_form(text):
            yield problem(f"{word}: expected a JSON list, for a shell would keep signals, found {text}")
    if not any(word == "LABEL" and "org.opencontainers.image." in rest for word, rest in after_last):
        yield problem("LABEL: expected org.opencontainers.image.… in the last stage, found none")
    for word, rest in found:
        if word == "ADD":
            yield problem(f"ADD: expected COPY, found {rest}")


def extras(found: list[Instruction]) -> set[str]:
    """The project's extras that a Dockerfile installs, by name; an ARG's default value is looked up."""
    defaults = dict(rest.split("=", 1) for word, rest in found if word == "ARG" and "=" in rest)
    text = " ".join(rest for word, rest in found if word == "RUN")
    text = re.sub(r"\$\{?(\w+)\}?", lambda match: defaults.get(match[1], match[0]), text)
    # twostage[gateway,http], or dist/twostage-0.1.0-py3-none-any.whl[gateway]
    lists = re.findall(r"(?:twostage|\.whl|\.|\")\[([a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)\]", text)
    return {name.strip() for each in lists for name in each.split(",")}


def _last(found: tuple[Instruction, ...], word: str) -> str | None:
    return next((rest for name, rest in reversed(found) if name == word), None)


def _exec_form(text: str | None) -> list[str]:
    if text is None or not text.startswith("["):
        return []
    return [str(word) for word in json.loads(text)]


def _stage(text: str) -> str:
    words = text.split()
    return words[2] if len(words) == 3 and words[1].lower() == "as" else ""
