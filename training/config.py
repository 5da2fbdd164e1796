"""Sizes and schedules of everything that training fits."""

from __future__ import annotations

from dataclasses import dataclass, field

from twostage.features.item_encoding import EncodingConfig

VECTOR_SIZE = 128
"""Size of item and user vectors, the index's dimension."""


@dataclass(frozen=True)
class TowerConfig:
    """Sizes of the item and user towers.

    Args:
        vector_size: Size of item and user vectors.
        word_size: Size of a word's embedding in the text tower.
        filter_count: Filters of the text tower's convolution.
        filter_width: Words that a filter spans.
        text_size: Size of the text tower's output.
        bag_size: Size of a bag token's embedding; 0 leaves the bags out.
        image_sizes: Sizes of the image tower's dense layers.
        category_size: Size of a categorical value's embedding.
        number_size: Size of the dense layer over the numeric columns.
        fusion_size: Size of the layer that fuses all inputs.
        dropout: Rate of dropout after fusion.
        token_dropout: Rate at which bag tokens become unknown in training, so that new items fare well.
        attention_size: Size of the tanh layer that scores history entries.
    """

    vector_size: int = VECTOR_SIZE
    word_size: int = 256
    filter_count: int = 128
    filter_width: int = 3
    text_size: int = 128
    bag_size: int = 128
    image_sizes: tuple[int, ...] = (256, 128)
    category_size: int = 32
    number_size: int = 32
    fusion_size: int = 256
    dropout: float = 0.3
    token_dropout: float = 0.1
    attention_size: int = 64


@dataclass(frozen=True)
class TowerTraining:
    """How the towers are trained.

    Args:
        max_epoch_count: Epochs at most.
        max_seconds: No epoch starts once so much time is spent; None for no limit, which reproducible runs need.
        steps_per_epoch: Steps after which recall is measured.
        item_count: Distinct items of a batch: each is a target or a negative.
        pair_count: Pairs of a history and a target in a batch.
        item_sampling_power: Items enter a batch with probability proportional to their positives to this power.
        correction: Strength of the correction for sampling probability, 1 in full: 0 learns affinity without
            popularity, 1 the probability of the next item.
        half_life_days: The age at which a timed interaction weighs half as much as the newest; None weighs all alike.
        temperature: The first value of the learned temperature.
        learning_rate: Adam's rate for the item tower at the start; it falls to a tenth along a cosine.
        user_learning_rate: Adam's rate for the user tower.
        patience: Epochs without a better recall after which training stops.
        recall_count: The k of the recall that decides.
        validation_user_count: People on whom it is measured at most.
        warm_start_epoch_count: Epochs over the items in which the item tower first learns vectors from a
            decomposition of the interactions; 0 leaves that out.
        warm_start_batch_size: Items per step of it.
        warm_start_learning_rate: Adam's rate in it at the start.
    """

    max_epoch_count: int = 15
    max_seconds: float | None = None
    steps_per_epoch: int = 150
    item_count: int = 1024
    pair_count: int = 2048
    item_sampling_power: float = 0.5
    correction: float = 1.0
    half_life_days: float | None = 60.0
    temperature: float = 0.1
    learning_rate: float = 1e-4
    user_learning_rate: float = 1e-3
    patience: int = 3
    recall_count: int = 500
    validation_user_count: int = 3000
    warm_start_epoch_count: int = 25
    warm_start_batch_size: int = 512
    warm_start_learning_rate: float = 4e-3


@dataclass(frozen=True)
class RankerConfig:
    """Sizes of the ``content`` ranker.

    Args:
        user_sizes: Sizes of the user tower.
        item_sizes: Sizes of the item tower.
        head_sizes: Sizes of the interaction head.
        dropout: Rate of dropout in the head.
        attention_size: Size of the tanh layer that scores history entries.
        factor_size: Size of the collaborative vectors, one per item and taste action.
        match_count: Products of user and item representations that the head reads.
        table_dtype: ``float32`` or ``float16``, how tables are stored and travel.
    """

    user_sizes: tuple[int, ...] = (256, 128)
    item_sizes: tuple[int, ...] = (256, 128)
    head_sizes: tuple[int, ...] = (128, 64)
    dropout: float = 0.2
    attention_size: int = 64
    factor_size: int = 96
    match_count: int = 4
    table_dtype: str = "float32"


@dataclass(frozen=True)
class RankerTraining:
    """How the ranker is trained.

    Args:
        candidate_count: Candidates that retrieval offers per person.
        negative_count: Candidates sampled as negatives per example, the hard ones.
        random_negative_count: Negatives sampled from the whole catalogue per example.
        popularity_negative_count: Negatives sampled by popularity per example.
        in_batch_negative_count: Other people's next items taken as negatives per example.
        shown_negative_count: Items that a gateway's log says were shown to the person in vain, per example.
        popularity_power: Items are popular by their number of interactions to this power.
        negative_correction: How far negatives drawn by popularity and in-batch ones are weighed down for being drawn
            more often, 1 in full, 0 not at all.
        positive_count: Positives per example at most.
        user_count: People per epoch at most.
        batch_size: People per step.
        max_epoch_count: Epochs at most, unless they make fewer steps than ``least_step_count``.
        least_step_count: Steps that may be made in any case, so that small data are learnt from as well.
        learning_rate: AdamW's rate at the start; it falls to a twentieth along a cosine.
        patience: Epochs without a better validation score after which training stops.
        loss: Which loss, a name of training.ranker.losses.LOSSES.
    """

    candidate_count: int = 500
    negative_count: int = 100
    random_negative_count: int = 12
    popularity_negative_count: int = 0
    in_batch_negative_count: int = 0
    shown_negative_count: int = 0
    popularity_power: float = 0.75
    negative_correction: float = 1.0
    positive_count: int = 8
    user_count: int = 60_000
    batch_size: int = 128
    max_epoch_count: int = 8
    least_step_count: int = 250
    learning_rate: float = 3e-4
    patience: int = 2
    loss: str = "mixed"


@dataclass(frozen=True)
class TagConfig:
    """How interest tags become vectors.

    Args:
        least_item_count: How many items must carry a tag.
        most_tag_count: How many tags have a vector at most.
        draw_count: Histories drawn for a tag that more than 50 items carry.
    """

    least_item_count: int = 3
    most_tag_count: int = 50_000
    draw_count: int = 4


@dataclass(frozen=True)
class SharesConfig:
    """How the shares of the sources beside the user vector are chosen.

    Args:
        user_count: People of the validation part on whom they are measured at most.
        steps: The parts of the candidates that a source may get at once, ascending.
        most: The part that all of them get at most.
        least_errors: Below so many standard errors a gain in recall is none.
        search_price: What every search of the index that a source adds must gain in recall, for it costs each request
            about as much as the user vector's. A search of 10,000 items takes 0.2 ms, so a millisecond has to bring
            0.01.
    """

    user_count: int = 1000
    steps: tuple[float, ...] = (0.1, 0.3)
    most: float = 0.5
    least_errors: float = 2.0
    search_price: float = 0.002


@dataclass(frozen=True)
class SourcesConfig:
    """What the sources of candidates beside the user vector read.

    Args:
        trending_half_life_days: The age at which an interaction counts half in what is trending. Of 3, 7, 14, 30 and 60
            days, 14 had the best recall of the next month on MovieTweetings.
        representative_count: How many items stand for the catalogue's clusters at most.
        items_per_representative: How many items one stands for at least, on average.
        tags: How interest tags become vectors.
        shares: How the sources' shares of the candidates are chosen.
    """

    trending_half_life_days: float = 14.0
    representative_count: int = 200
    items_per_representative: int = 50
    tags: TagConfig = field(default_factory=TagConfig)
    shares: SharesConfig = field(default_factory=SharesConfig)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a training run is configured by."""

    encoding: EncodingConfig = field(default_factory=EncodingConfig)
    towers: TowerConfig = field(default_factory=TowerConfig)
    tower_training: TowerTraining = field(default_factory=TowerTraining)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    ranker_training: RankerTraining = field(default_factory=RankerTraining)
    sources: SourcesConfig = field(default_factory=SourcesConfig)
