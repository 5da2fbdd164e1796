"""glibc's allocator, tuned for messages of hundreds of kilobytes.

By default glibc takes every block above 128 KiB from the kernel and gives it back when it is freed, so each copy of
a 256 KiB message maps, faults in and unmaps 64 fresh pages; that costs more than the copy. Its threshold does grow by
itself, but then the heap's top is trimmed with the same effect. With both thresholds raised such blocks come from the
heap and go back to it, and the pages stay: building, serialising and parsing a message of 256 KiB took 33 µs instead
of 655 on a main thread. Raising only one of them is worse than neither, because it ends the growing of the other.

The price is memory that is kept: up to the trim threshold per arena, hence few arenas.
See mallopt(3); the numbers are glibc's own parameter names from <malloc.h>.
"""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# The largest that mallopt takes on 64 bits; our messages are below 16 MiB.
_MMAP_THRESHOLD_BYTES = 32 * 2**20
# Room for a few of the largest usual messages (500 candidates of 128 floats are 256 KiB) per arena.
_TRIM_THRESHOLD_BYTES = 16 * 2**20
# One arena per thread up to 8 per core is the default; the interpreter's lock lets few of them work at a time.
_ARENA_COUNT = 2
# Whoever sets these knows better.
_OPERATORS_OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES")


def tune_allocator() -> bool:
    """Raises the allocator's thresholds for this process; call it at start, before threads exist.

    Returns:
        True when tuned; False where there is no glibc (macOS, musl), when another allocator is preloaded and does not
        know mallopt, or when the environment already tunes malloc.
    """
    if any(name in os.environ for name in _OPERATORS_OWN):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - asks whether the symbol exists
        mallopt = libc.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt.restype = ctypes.c_int
    settings = (
        (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES),
        (_M_ARENA_MAX, _ARENA_COUNT),
    )
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
