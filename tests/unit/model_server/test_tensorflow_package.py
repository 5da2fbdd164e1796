from __future__ import annotations

import subprocess
import sys


def test_the_server_is_loaded_without_tensorflows_python() -> None:
    program = """
import sys
from model_server.tensorflow_package import folder, leave_out_python
leave_out_python()
import model_server.server
from model_server.tensorflow_c import Session
assert (folder() / "core").is_dir()
loaded = [name for name in sys.modules if name.startswith(("tensorflow.python", "keras"))]
assert not loaded, loaded
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_tensorflow_that_is_imported_stays_as_it_is() -> None:
    import tensorflow as tf  # noqa: PLC0415

    from model_server.tensorflow_package import folder, leave_out_python  # noqa: PLC0415

    leave_out_python()
    assert sys.modules["tensorflow"] is tf
    assert (folder() / "include").is_dir()
