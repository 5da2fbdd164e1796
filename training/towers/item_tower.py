"""The item tower: an item's content to a vector."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import TowerConfig
from training.towers.layers import BagSum, MaskedMaxPooling, UnitLength
from twostage.features.item_encoding import EncodedItems, ItemEncoder

ITEM_VECTOR = "item_vector"


def build_item_tower(encoder: ItemEncoder, config: TowerConfig) -> keras.Model:
    """Builds the item tower.

    The text tower reads the words in order (embedding, convolution, global max pooling, dense), as in Y. Kim,
    *Convolutional Neural Networks for Sentence Classification*, 2014. Beside it stand the bags of each column's
    phrases and values, which say who wrote something and what it is about more plainly than word order does.

    Args:
        encoder: The encoding whose arrays the tower reads.
        config: The tower's sizes.

    Returns:
        A model from the arrays of EncodedItems, by name, to ``item_vector`` float32[B, vector_size], L2-normalised.
    """
    layers = keras.layers
    sizes = encoder.config
    word_ids = keras.Input((sizes.sequence_length,), dtype="int32", name="word_ids")
    bag_ids = keras.Input((encoder.bag_count, sizes.bag_length), dtype="int32", name="bag_ids")
    category_ids = keras.Input((len(encoder.categories),), dtype="int32", name="category_ids")
    numbers = keras.Input((2 * len(encoder.means),), dtype="float32", name="numbers")
    images = keras.Input((encoder.image_size,), dtype="float32", name="images")

    embedded = layers.Embedding(encoder.words.size, config.word_size, name="words")(word_ids)
    filtered = layers.Conv1D(
        config.filter_count, config.filter_width, padding="same", activation="relu", name="phrases"
    )(embedded)
    pooled = MaskedMaxPooling(name="pooled_phrases")(filtered, word_ids > 0)
    parts = [layers.Dense(config.text_size, activation="relu", name="text")(pooled)]
    if config.bag_size:
        bags = BagSum(encoder.bag.size, config.bag_size, encoder.bag.bucket_count, config.token_dropout, name="bags")
        parts.append(bags(bag_ids))
    for position, vocabulary in enumerate(encoder.categories):
        embedding = layers.Embedding(vocabulary.size, config.category_size, name=f"category_{position}")
        parts.append(embedding(category_ids[:, position]))
    if encoder.means:
        parts.append(layers.Dense(config.number_size, activation="relu", name="number")(numbers))
    if encoder.image_size:
        image = images
        for position, size in enumerate(config.image_sizes):
            image = layers.Dense(size, activation="relu", name=f"image_{position}")(image)
        parts.append(image)
    fused = layers.Concatenate(name="content")(parts) if len(parts) > 1 else parts[0]
    hidden = layers.Dense(config.fusion_size, activation="relu", name="fusion")(fused)
    hidden = layers.Dropout(config.dropout, name="dropout")(hidden)
    vector = UnitLength(name=ITEM_VECTOR)(layers.Dense(config.vector_size, name="projection")(hidden))
    inputs = {tensor.name: tensor for tensor in (word_ids, bag_ids, category_ids, numbers, images)}
    return keras.Model(inputs=inputs, outputs=vector, name="item_tower")


def encode_items(tower: keras.Model, items: EncodedItems, batch_size: int = 1024) -> NDArray[np.float32]:
    """Encodes items to float32[N, vector_size], without dropout.

    Args:
        tower: A tower of :func:`build_item_tower`.
        items: The items' content.
        batch_size: Items per call.
    """
    infer = tf.function(lambda inputs: tower(inputs, training=False), reduce_retracing=True)
    parts = []
    for start in range(0, len(items), batch_size):
        rows = np.arange(start, min(start + batch_size, len(items)))
        # The last batch is filled up, so that one trace serves all.
        padded = np.resize(rows, batch_size) if len(items) > batch_size else rows
        vectors = infer({name: tf.constant(array) for name, array in items.take(padded).arrays().items()})
        parts.append(vectors.numpy()[: len(rows)])
    return np.concatenate(parts) if parts else np.zeros((0, tower.output_shape[-1]), np.float32)
