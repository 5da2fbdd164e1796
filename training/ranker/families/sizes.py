"""Sizes that belong to one family or a few."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FamilySizes:
    """Sizes beside those that families share in RankerConfig.

    Args:
        embedding_size: Size of a person's and an item's embedding: NeuMF's predictive factors, DIN's goods.
        item_embedding_size: Size of the item's embedding in MLPs and crosses.
        field_size: Size of a field's embedding, per action, in DeepFM's pairs.
        pooled_size: Size of a field's embedding in NFM's bi-interaction pooling, which all actions share.
        profile_size: Size of the profile's embedding in DCN v2.
        cross_count: Cross layers of DCN v2, at least 1.
        unit_size: Size of the hidden layer of DIN's local activation unit; work per candidate and entry grows with it.
        expert_count: Experts of MMoE.
        expert_size: Size of an expert's layer.
        tower_size: Size of the last hidden layer of an action's own tower in ESMM and MMoE.
    """

    embedding_size: int = 32
    item_embedding_size: int = 64
    field_size: int = 16
    pooled_size: int = 64
    profile_size: int = 16
    cross_count: int = 2
    unit_size: int = 16
    expert_count: int = 4
    expert_size: int = 64
    tower_size: int = 32
