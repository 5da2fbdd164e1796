"""Writes ``descriptors.binpb``: the model server's messages, without the TensorFlow that usually brings them.

The official wheels ship their messages as Python modules whose import runs all of TensorFlow, and no ``.proto`` files.
Each module holds its file's serialized descriptor as a literal; this step reads those literals with ``ast``, executes
nothing, and writes one FileDescriptorSet, in an order and an encoding that depend on the wheels alone.

Run ``python -m twostage.tfserving.build_descriptors`` after changing the version of tensorflow-serving-api; with
``--check`` it writes nothing and fails when the committed file differs.
"""

from __future__ import annotations

import argparse
import ast
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from google.protobuf import descriptor_pb2

OUTPUT = Path(__file__).with_name("descriptors.binpb")
SERVICE_FILES = (
    "tensorflow_serving/apis/prediction_service.proto",
    "tensorflow_serving/apis/model_service.proto",
)
# Found in the order given; tensorflow's wheel goes by several names.
_DISTRIBUTIONS = ("tensorflow-serving-api", "tensorflow", "tensorflow-cpu", "tensorflow-macos")
# tensorflow's wheel moves the protos of its own dependency XLA below its own package.
_FOLDERS = ("", "tensorflow/compiler/")
# The runtime brings its own well-known types; see messages.py.
_WELL_KNOWN_PREFIX = "google/protobuf/"


class DescriptorsNotFoundError(Exception):
    """A generated module is missing, or holds no descriptor in a form this step knows."""


def build_descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """Reads both services and all they depend on from the installed wheels.

    Returns:
        The files, each after those it depends on, by name among equals; without the well-known types.

    Raises:
        DescriptorsNotFoundError: A wheel or a module is missing, or a module holds no serialized descriptor.
    """
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def visit(name: str) -> None:
        if name in found or name.startswith(_WELL_KNOWN_PREFIX):
            return
        parsed = descriptor_pb2.FileDescriptorProto.FromString(_serialized_descriptor(_module_of(name)))
        for dependency in sorted(parsed.dependency):
            visit(dependency)
        found[name] = parsed

    for name in sorted(SERVICE_FILES):
        visit(name)
    return descriptor_pb2.FileDescriptorSet(file=found.values())


def _module_of(proto_name: str) -> Path:
    relative = proto_name.removesuffix(".proto") + "_pb2.py"
    searched = []
    for name in _DISTRIBUTIONS:
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        for folder in _FOLDERS:
            path = Path(str(installed.locate_file(folder + relative)))
            if path.is_file():
                return path
        searched.append(name)
    raise DescriptorsNotFoundError(
        f"{relative} is in none of the installed packages ({', '.join(searched) or 'none installed'}); "
        f"expected one of {', '.join(_DISTRIBUTIONS)}"
    )


def _serialized_descriptor(module: Path) -> bytes:
    """Finds the literal, which protoc has written in two ways over the years."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "AddSerializedFile" and len(node.args) == 1:
            return _literal_bytes(node.args[0], module)
        if node.func.attr == "FileDescriptor":
            for keyword in node.keywords:
                if keyword.arg == "serialized_pb":
                    return _literal_bytes(keyword.value, module)
    raise DescriptorsNotFoundError(f"{module} holds no serialized file descriptor")


def _literal_bytes(node: ast.expr, module: Path) -> bytes:
    # The older form wraps a text literal: _b('...') stands for '...'.encode('latin1').
    if isinstance(node, ast.Call) and len(node.args) == 1:
        node = node.args[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.encode("latin1")
    raise DescriptorsNotFoundError(f"{module}:{node.lineno}: the descriptor is not a literal")


def main(arguments: list[str] | None = None) -> int:
    """Writes the file, or with ``--check`` compares it.

    Returns:
        0; 1 when the wheels cannot be read, or with ``--check`` when the committed file differs.
    """
    parser = argparse.ArgumentParser(prog="python -m twostage.tfserving.build_descriptors", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the committed file differs")
    check = parser.parse_args(arguments).check
    try:
        content = build_descriptor_set().SerializeToString(deterministic=True)
    except DescriptorsNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if check:
        if OUTPUT.is_file() and OUTPUT.read_bytes() == content:
            return 0
        sys.stderr.write(f"{OUTPUT.name} differs from the installed wheels; run `make protos`\n")
        return 1
    OUTPUT.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
