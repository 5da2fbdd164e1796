from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")

# Counts the page faults of copying 256 KiB a thousand times: without tuning each copy faults its pages in afresh.
FAULTS = """
import resource, sys, threading
from twostage.rpc.allocator import tune_allocator
print(tune_allocator() if sys.argv[1] == "tuned" else None)
source = bytes(256 * 1024)
def copy():
    for _ in range(1000):
        bytearray(source)
threading.Thread(target=copy).run()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
worker = threading.Thread(target=copy)
worker.start()
worker.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(kind: str, **environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    return subprocess.run(
        [sys.executable, "-c", FAULTS, kind], env={**clean, **environment}, capture_output=True, text=True, check=True
    ).stdout.split()


@glibc
def test_tuned_memory_is_used_again_instead_of_faulted_in_again() -> None:
    # glibc's threshold grows by itself once a mapped block is freed; held down, it shows what each copy costs.
    done, tuned = run("tuned")
    assert done == "True"
    _, plain = run("plain", MALLOC_MMAP_THRESHOLD_="131072")
    assert int(tuned) < 1000
    assert int(plain) > 50_000


@glibc
def test_the_operators_own_tuning_is_left_alone() -> None:
    assert run("tuned", MALLOC_MMAP_THRESHOLD_="131072")[0] == "False"
