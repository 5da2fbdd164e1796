"""Whether an index does what a selector asks: tried, not assumed."""

from __future__ import annotations

from enum import Enum
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from twostage.bundle.row_set import RowSet

_TRIED_COUNT = 8


class SelectorSupport(Enum):
    """What an index does with a selector."""

    HONOURED = "honoured"
    """Rows outside are not found."""
    IGNORED = "ignored"
    """Rows outside are found all the same, silently: the answer must be searched for more and sieved."""
    REFUSED = "refused"
    """The search fails."""


def search_parameters(index: Any, selector: RowSet | None, **asked: int) -> tuple[Any, Any]:
    """Search parameters for an index's type, and what must outlive the search.

    Args:
        index: The index.
        selector: Which of the index's own ids may be found; None for all.
        asked: ``nprobe`` or ``efSearch``, for indexes that have them.
    """
    wanted: dict[str, Any] = dict(asked)
    kept: Any = None
    if selector is not None:
        kept = selector.octets
        # FAISS keeps a bare pointer to the bitmap.
        wanted["sel"] = faiss.IDSelectorBitmap(kept.size, faiss.swig_ptr(kept))
    if not wanted:
        return None, None
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(**wanted), (kept, wanted)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(**wanted), (kept, wanted)  # type: ignore[attr-defined]
    return faiss.SearchParameters(**wanted), (kept, wanted)


def selector_support(index: Any, vector: NDArray[np.float32], id_count: int, **asked: int) -> SelectorSupport:
    """Excludes the nearest rows once and looks whether they are gone.

    Args:
        index: The index.
        vector: float32[D], with rows near to it.
        id_count: All ids of the index are below this.
        asked: As in :func:`search_parameters`.
    """
    query = np.ascontiguousarray(vector, np.float32).reshape(1, -1)
    count = min(_TRIED_COUNT, int(index.ntotal))
    parameters, _ = search_parameters(index, None, **asked)
    nearest = index.search(query, count, params=parameters)[1][0]
    nearest = nearest[nearest >= 0]
    selector = RowSet.all_rows(id_count).without(nearest)
    parameters, kept = search_parameters(index, selector, **asked)
    try:
        found = index.search(query, count, params=parameters)[1][0]
    except RuntimeError:
        return SelectorSupport.REFUSED
    finally:
        del kept
    return SelectorSupport.IGNORED if np.isin(found, nearest).any() else SelectorSupport.HONOURED
