"""TensorFlow's package without its Python.

This server needs of TensorFlow the C library and the generated messages. Python runs a package's own module before any
part of it, and TensorFlow's takes four seconds of processor time and three hundred MB, most of it for building graphs
and for Keras.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def leave_out_python() -> None:
    """Puts a package in the place of TensorFlow's that only says where its parts lie.

    Only for a process that is nothing but this server: whoever imports ``tensorflow`` afterwards gets an empty package.
    Does nothing where TensorFlow is imported already.

    Raises:
        ModuleNotFoundError: There is no TensorFlow.
    """
    if "tensorflow" in sys.modules:
        return
    spec = find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("no module named 'tensorflow': install twostage[model-server]", name="tensorflow")
    package = ModuleType("tensorflow")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["tensorflow"] = package


def folder() -> Path:
    """Where TensorFlow's libraries lie.

    Raises:
        ModuleNotFoundError: There is no TensorFlow.
    """
    # With its Python, the package's path also leads to Keras; libraries lie beside ``core``.
    return Path(next(iter(import_module("tensorflow.core").__path__))).parent
