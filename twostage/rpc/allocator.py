"""glibc's allocator, tuned for messages of hundreds of kilobytes.

By default glibc takes every block above 128 KiB from the kernel and gives it back when it is freed, so each copy of
a 256 KiB message maps, faults in and unmaps 64 fresh pages; that costs more than the copy. (Its threshold grows by
itself up to 32 MiB, but only when a mapped block is freed, and the trimming at the heap's top stays.) With the
thresholds raised such blocks come from the heap and go back to it, and the pages stay.

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
