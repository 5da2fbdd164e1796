"""The families of indexes that are tried, and what each holds in memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from twostage.bundle.manifest import IndexFamily

ID_BYTES = 8
"""What an inverted list holds for each row beside its code."""


@dataclass(frozen=True)
class IndexSpec:
    """An index that can be built.

    Args:
        family: What kind it is.
        factory: FAISS's description of it, without the inverted lists' part.
        code_bytes: What it holds for each row, ids and links included.
        pool_factors: How many times the rows asked for may pass from the codes' order to the exact one, what is tried.
    """

    family: IndexFamily
    factory: str
    code_bytes: float
    pool_factors: tuple[float, ...] = (1.0,)

    @property
    def has_lists(self) -> bool:
        """Whether it is made of inverted lists."""
        return self.family in ("ivf", "ivf_pq", "rabitq")


def index_specs(dimension: int) -> dict[str, IndexSpec]:
    """What can be built, by name.

    ``exact``: every inner product. ``ivf_fp16``, ``ivf_bf16``, ``ivf_sq8``: inverted lists of scalar codes of 16 or 8
    bits. ``ivf_pq1``, ``ivf_pq2``: inverted lists of product codes of 4 bits for each one or two dimensions, relative
    to the list's centre, scanned many at once (fast-scan, F. André et al., *Quicker ADC*, 2021), refined by inner
    products with the item vectors. ``hnsw``: a graph over codes of 16 bits (Y. Malkov and D. Yashunin, 2018).
    ``rabitq``: 1 bit for each dimension (J. Gao and C. Long, *RaBitQ*, 2024), refined likewise; ``rabitq4``: 4 bits.

    Args:
        dimension: D of the vectors.
    """
    halves = dimension + dimension % 2
    return {
        "exact": IndexSpec("exact", "Flat", 4 * dimension),
        "ivf_fp16": IndexSpec("ivf", "SQfp16", 2 * dimension + ID_BYTES, pool_factors=(1.0, 1.1)),
        "ivf_bf16": IndexSpec("ivf", "SQbf16", 2 * dimension + ID_BYTES, pool_factors=(1.0, 1.1)),
        "ivf_sq8": IndexSpec("ivf", "SQ8", dimension + ID_BYTES, pool_factors=(1.0, 1.2)),
        "ivf_pq1": IndexSpec("ivf_pq", f"PQ{dimension}x4fsr", halves / 2 + ID_BYTES, pool_factors=(1.1, 1.2, 1.4, 1.7)),
        "ivf_pq2": IndexSpec(
            "ivf_pq",
            f"PQ{dimension // 2}x4fsr",
            -(-(dimension // 2) // 2) + ID_BYTES,
            pool_factors=(1.5, 2.0, 2.5, 3.0, 4.0),
        ),
        # Links of 32 neighbours each way on the lowest level, and what the levels above add.
        "hnsw": IndexSpec("hnsw", "HNSW32,SQfp16", 2 * dimension + 4 * 64 + 24),
        "rabitq": IndexSpec("rabitq", "RaBitQfs", dimension / 8 + 8 + ID_BYTES, pool_factors=(2.0, 3.0, 4.0, 6.0, 8.0)),
        "rabitq4": IndexSpec("rabitq", "RaBitQfs4", dimension / 2 + 20 + ID_BYTES, pool_factors=(1.2, 1.5, 2.0)),
    }


USUAL = ("ivf_pq1", "ivf_fp16")
"""What is tried where nobody says otherwise: at a million items of 128 dimensions the two fastest at a recall of .95,
of which the second is mapped."""


def list_count(item_count: int) -> int:
    """How many inverted lists: the power of two nearest to 2 √N, 64 at least, fewer for the smallest catalogues.

    At a million items 2,048 lists and 4,096 are equally fast at a recall of .95, and 2,048 take half the time to make.
    """
    power = max(6, round(log2(2 * item_count**0.5)))
    lists: int = 2**power
    return max(1, min(lists, item_count // 8))
