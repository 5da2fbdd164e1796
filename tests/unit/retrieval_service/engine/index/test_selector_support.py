"""What FAISS's own types do with a selector; a new version that does otherwise is seen here."""

from __future__ import annotations

from typing import Any

import faiss as typed_faiss
import numpy as np
import pytest

from retrieval_service.engine.index.selector_support import SelectorSupport, search_parameters, selector_support
from tests.unit.retrieval_service.engine.index.small_index import DIMENSION, VECTORS
from twostage.bundle.row_set import RowSet

# The parameters' arguments are not in the library's types.
faiss: Any = typed_faiss

SOME = VECTORS[:1500]


def made(factory: str) -> Any:
    index = faiss.index_factory(DIMENSION, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(SOME)
    index.add(SOME)
    return index


@pytest.mark.parametrize(
    ("factory", "asked"),
    [
        ("Flat", {}),
        ("SQfp16", {}),
        ("IVF8,SQfp16", {"nprobe": 1}),
        ("IVF8,SQfp16", {"nprobe": 8}),
        ("IVF8,PQ32x4fsr", {"nprobe": 2}),
        ("IVF8,RaBitQfs", {"nprobe": 2}),
        ("HNSW16,SQfp16", {"efSearch": 40}),
    ],
)
@pytest.mark.filterwarnings("default")
def test_the_types_that_are_built_honour_selectors(factory: str, asked: dict[str, int]) -> None:
    assert selector_support(made(factory), SOME[7], len(SOME), **asked) is SelectorSupport.HONOURED


@pytest.mark.parametrize("factory", ["PQ16x4fs", "SQ8,RFlat"])
def test_plain_fast_scan_and_refinement_refuse_plain_parameters(factory: str) -> None:
    assert selector_support(made(factory), SOME[7], len(SOME)) is SelectorSupport.REFUSED


def test_refinement_drops_a_selector_in_parameters_of_its_own_silently() -> None:
    """Why types are tried: the selector belongs into the inner parameters, and nothing says so."""
    index = made("Flat,RFlat")
    nearest = index.search(SOME[7:8], 8)[1][0]
    octets = RowSet.all_rows(len(SOME)).without(nearest).octets
    selector = faiss.IDSelectorBitmap(octets.size, faiss.swig_ptr(octets))
    outer = faiss.IndexRefineSearchParameters(sel=selector)
    assert np.isin(index.search(SOME[7:8], 8, params=outer)[1][0], nearest).all()
    inner = faiss.IndexRefineSearchParameters(base_index_params=faiss.SearchParameters(sel=selector))
    assert not np.isin(index.search(SOME[7:8], 8, params=inner)[1][0], nearest).any()


def test_an_index_that_drops_selectors_silently_is_seen_to() -> None:
    index = made("Flat,RFlat")

    class Dropping:
        """The refinement, given a selector in the parameters that it drops it from."""

        ntotal = index.ntotal

        def search(self, query: Any, count: int, params: Any) -> Any:
            own = None if params is None else faiss.IndexRefineSearchParameters(sel=params.sel)
            return index.search(query, count, params=own)

    assert selector_support(Dropping(), SOME[7], len(SOME)) is SelectorSupport.IGNORED


@pytest.mark.parametrize("count", [1, 2, 8, 9])
def test_indexes_of_few_rows_are_tried_as_well(count: int) -> None:
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(SOME[:count])
    assert selector_support(index, SOME[0], 5000) is SelectorSupport.HONOURED


def test_parameters_are_of_the_indexs_type() -> None:
    assert search_parameters(made("Flat"), None) == (None, None)
    inverted, _ = search_parameters(made("IVF8,SQfp16"), None, nprobe=5)
    assert isinstance(inverted, faiss.SearchParametersIVF)
    assert inverted.nprobe == 5
    graph, _ = search_parameters(made("HNSW16,SQfp16"), RowSet.all_rows(len(SOME)), efSearch=50)
    assert isinstance(graph, faiss.SearchParametersHNSW)
    assert graph.efSearch == 50
