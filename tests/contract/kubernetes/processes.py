"""What runs in a container: its command line, and of our services the settings that it ends up with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.contract.kubernetes.dockerfiles import OWN_IMAGES, default_command
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.programs import PROGRAMS, CommandLineWrong, Program, parse_flags, read_settings
from tests.contract.kubernetes.rendered import Container, Rendered, Workload
from twostage.rpc.settings import ServiceSettings, SettingsError

# Read by Python, by libraries and by the system; everything else that a service's container states is a setting.
_OTHER_PREFIXES = ("PYTHON", "AWS_", "GRPC_", "MALLOC_", "OMP_", "OPENBLAS_", "OTEL_", "FSSPEC_", "GOOGLE_", "AZURE_")
_OTHER_NAMES = frozenset({"HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"})


@dataclass(frozen=True)
class Process:
    """One of our services in a container.

    Args:
        container: Where it runs.
        program: Which it is.
        settings: What it ends up with.
    """

    container: Container
    program: Program
    settings: ServiceSettings


def command_line(container: Container) -> list[str]:
    """The words by which a container's process is started; those of our own images where it states none."""
    command, arguments = container.command, container.arguments
    if command is not None:
        return [*command, *arguments]
    name = image_name(container.image)
    if name in OWN_IMAGES:
        entry, words = default_command(name)
        return [*entry, *(arguments or words)]
    return arguments


def image_name(image: str) -> str:
    """An image without its tag and digest."""
    name = image.partition("@")[0]
    head, separator, tail = name.rpartition("/")
    return head + separator + tail.partition(":")[0]


def program_of(container: Container) -> tuple[Program, list[str]] | None:
    """Which of our services runs in a container, and its arguments; None for everything else."""
    words = command_line(container)
    if len(words) < 3 or not words[0].rpartition("/")[2].startswith("python"):
        return None
    # -m among the interpreter's own options, which take no value of their own.
    for place, word in enumerate(words[1:], start=1):
        if word == "-m" and place + 1 < len(words):
            program = PROGRAMS.get(words[place + 1])
            return None if program is None else (program, words[place + 2 :])
        if not word.startswith("-"):
            return None
    return None


def processes(rendered: Rendered) -> Iterator[Process]:
    """Our services; those left out whose settings are refused, which `check_settings` tells."""
    for workload in rendered.workloads:
        yield from processes_of(workload)


def processes_of(workload: Workload) -> Iterator[Process]:
    """Our services in the pods of one workload."""
    for container in workload.containers:
        found = _read(container)
        if isinstance(found, Process):
            yield found


def check_settings(rendered: Rendered) -> Iterator[Problem]:
    """Every key, variable and flag of a service is one that it knows, with a value that it takes."""
    for workload in rendered.workloads:
        for container in workload.containers:
            found = _read(container)
            if isinstance(found, str):
                yield Problem("settings", container.subject, found)
            program = program_of(container)
            if program is not None:
                yield from _variables(container, program[0])


def _variables(container: Container, program: Program) -> Iterator[Problem]:
    for name in container.environment:
        field = name.removeprefix(program.prefix)
        known = field != name and field.partition("__")[0].lower() in program.settings.model_fields
        other = name.startswith(_OTHER_PREFIXES) or name in _OTHER_NAMES
        if not known and not other:
            wanted = f"a setting of {program.module}, {program.prefix}…"
            yield Problem("variable", container.subject, f"expected {wanted}, found {name}")


def _read(container: Container) -> Process | str | None:
    """The process, what is wrong with its settings, or None where it is none of our services."""
    found = program_of(container)
    if found is None:
        return None
    program, arguments = found
    flags = _flags(program.module, tuple(arguments))
    if isinstance(flags, str):
        return flags
    path = flags.get("config") or container.environment.get(f"{program.prefix}CONFIG")
    config = None
    if path is not None:
        config = container.read(str(path))
        if config is None:
            return f"config: expected a file of a mounted ConfigMap, found {path}"
    settings = _settings(program.module, tuple(container.environment.items()), tuple(flags.items()), config)
    return settings if isinstance(settings, str) else Process(container, program, settings)


@cache
def _flags(module: str, arguments: tuple[str, ...]) -> dict[str, object] | str:
    """The flags, or why they are refused."""
    try:
        return parse_flags(PROGRAMS[module], arguments)
    except CommandLineWrong as error:
        return str(error)


@cache
def _settings(
    module: str,
    environment: tuple[tuple[str, str], ...],
    flags: tuple[tuple[str, object], ...],
    config: str | None,
) -> ServiceSettings | str:
    """The settings, or why they are refused; read once for all combinations that state the same."""
    try:
        return read_settings(PROGRAMS[module], dict(environment), dict(flags), config)
    except SettingsError as error:
        return str(error)
