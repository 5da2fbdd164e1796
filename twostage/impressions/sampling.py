"""Which answers are logged where not all are."""

from __future__ import annotations

import zlib


def is_sampled(request_id: str, share: float) -> bool:
    """Says whether an answer is logged; the same answer always is or never is, wherever this is asked.

    Args:
        request_id: Names the answer.
        share: The part of the answers that is logged, 0..1. Who is in a smaller share is in a larger one too.
    """
    return share >= 1 or zlib.crc32(request_id.encode()) < share * 2**32
