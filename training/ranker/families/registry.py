"""The families by name."""

from __future__ import annotations

from training.config import RankerConfig
from training.ranker.families.content import ContentRanker
from training.ranker.families.dcn_v2 import DCNv2
from training.ranker.families.deepfm import DeepFM
from training.ranker.families.din import DIN
from training.ranker.families.esmm import ESMM
from training.ranker.families.fields import FieldRanker
from training.ranker.families.mmoe import MMoE
from training.ranker.families.neumf import NeuMF
from training.ranker.families.nfm import NFM
from training.ranker.families.ranker import Ranker
from training.ranker.families.sizes import FamilySizes
from training.ranker.families.wide_and_deep import WideAndDeep
from twostage.features.actions import ActionSchema

CONTENT = "content"

_OF_THE_LITERATURE: dict[str, type[FieldRanker]] = {
    "neumf": NeuMF,
    "wide_and_deep": WideAndDeep,
    "deepfm": DeepFM,
    "nfm": NFM,
    "dcn_v2": DCNv2,
    "din": DIN,
    "esmm": ESMM,
    "mmoe": MMoE,
}

FAMILIES: tuple[str, ...] = (CONTENT, *_OF_THE_LITERATURE)
"""The names of the families."""


def build_ranker(
    family: str,
    config: RankerConfig,
    actions: ActionSchema,
    vector_size: int,
    feature_count: int,
    sizes: FamilySizes | None = None,
) -> Ranker:
    """Makes an untrained ranker with all its weights in place.

    Args:
        family: One of FAMILIES.
        config: Sizes that families share.
        actions: The actions to predict.
        vector_size: Size D of item vectors.
        feature_count: Number F of statistics per item.
        sizes: Sizes that belong to families; the defaults when None. The content ranker has none.

    Raises:
        ValueError: There is no such family, or sizes do not fit.
    """
    model: Ranker
    if family == CONTENT:
        model = ContentRanker(config, actions, vector_size, feature_count)
    elif family in _OF_THE_LITERATURE:
        model = _OF_THE_LITERATURE[family](config, actions, vector_size, feature_count, sizes)
    else:
        raise ValueError(f"family: expected one of {', '.join(FAMILIES)}, got {family!r}")
    model.build_parts()
    return model
