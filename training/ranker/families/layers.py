"""Layers that families share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from training.towers.layers import AttentionPooling

ACTION_EMBEDDING_SIZE = 8
FACT_COUNT = 2


def small_kernel() -> Any:
    """What products of features start from: near zero, so that they add next to nothing to an untrained ranker."""
    return keras.initializers.RandomNormal(stddev=0.01)


class HistoryEntries(keras.layers.Layer):
    """A history's entries as vectors: the item's vector, an embedding of what was done, its value and its age.

    Args:
        recorded_count: How many recorded actions there are.
    """

    def __init__(self, recorded_count: int) -> None:
        super().__init__(name="history_entries")
        self.action_embedding = keras.layers.Embedding(1 + recorded_count, ACTION_EMBEDDING_SIZE)

    def call(self, vectors: tf.Tensor, actions: tf.Tensor, values: tf.Tensor, ages_days: tf.Tensor) -> tf.Tensor:
        """Maps float32[B, L, D] and three times [B, L] to float32[B, L, D + 10]."""
        facts = tf.stack([values / 10.0, tf.math.log1p(ages_days) / 8.0], axis=-1)
        return tf.concat([vectors, self.action_embedding(actions), facts], axis=-1)


class HistoryPooling(keras.layers.Layer):
    """The mean of a history's entries, weighted by a learned score of each; zeros for an empty history.

    Args:
        attention_size: Size of the tanh layer that scores entries.
    """

    def __init__(self, attention_size: int) -> None:
        super().__init__(name="history_pooling")
        self.attention = keras.layers.Dense(attention_size, activation="tanh")
        self.attention_score = keras.layers.Dense(1, use_bias=False)
        self.pooling = AttentionPooling()

    def call(self, entries: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Pools float32[B, L, W] with mask float32[B, L] to float32[B, W]."""
        scores = self.attention_score(self.attention(entries))[:, :, 0]
        return self.pooling(entries, scores, mask)


class ContentEmbedding(keras.layers.Layer):
    """An embedding computed from what is known of a thing, where papers look one up by id.

    Args:
        hidden_sizes: Sizes of the ReLU layers before it.
        size: The embedding's size.
        name: The layer's name.
        kernel_initializer: Of the last layer.
    """

    def __init__(
        self, hidden_sizes: Sequence[int], size: int, name: str, kernel_initializer: Any = "glorot_uniform"
    ) -> None:
        super().__init__(name=name)
        self.hidden = [keras.layers.Dense(units, activation="relu") for units in hidden_sizes]
        self.embedding = keras.layers.Dense(size, kernel_initializer=kernel_initializer)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps float32[.., W] to float32[.., size]."""
        for layer in self.hidden:
            inputs = layer(inputs)
        return self.embedding(inputs)


class SplitDense(keras.layers.Layer):
    """A dense layer over several inputs side by side, of which each can be multiplied where it is known.

    ``W [u; i; m] + b = W_u u + W_i i + W_m m + b``: the person's part is computed once per request, the item's once
    per publishing.

    Args:
        sizes: The inputs' widths by name, in order.
        units: Width of the output.
        use_bias: False leaves b out.
        name: The layer's name.
        kernel_initializer: Of the whole kernel.
        bias_initializer: Of the bias.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        units: int,
        name: str,
        *,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
    ) -> None:
        super().__init__(name=name)
        spans, start = {}, 0
        for part, size in sizes.items():
            spans[part] = (start, start + size)
            start += size
        self.spans = spans
        self.kernel = self.add_weight(shape=(start, units), initializer=kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(units,), initializer=bias_initializer, name="bias") if use_bias else None
        self.built = True

    def part(self, name: str, inputs: tf.Tensor) -> tf.Tensor:
        """One input's share of the output, without the bias: float32[.., width] to float32[.., units]."""
        start, stop = self.spans[name]
        return tf.tensordot(inputs, self.kernel[start:stop], 1)

    def biased(self, name: str, inputs: tf.Tensor) -> tf.Tensor:
        """The same with the bias, which exactly one of the parts must bring."""
        return self.part(name, inputs) + self.bias


class HiddenLayers(keras.layers.Layer):
    """ReLU layers with dropout before each.

    Args:
        sizes: Their sizes; none leaves inputs as they are.
        dropout: The rate.
        name: The layer's name.
    """

    def __init__(self, sizes: Sequence[int], dropout: float, name: str) -> None:
        super().__init__(name=name)
        self.dense = [keras.layers.Dense(units, activation="relu") for units in sizes]
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, hidden: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Maps float32[.., W] to float32[.., sizes[-1]]."""
        for layer in self.dense:
            hidden = layer(self.dropout(hidden, training=training))
        return hidden


class ChannelPReLU(keras.layers.Layer):
    """PReLU with one slope per channel (K. He et al., *Delving Deep into Rectifiers*, 2015): max(0,x) + a min(0,x).

    Args:
        size: Number of channels, the last dimension.
        name: The layer's name.
    """

    def __init__(self, size: int, name: str) -> None:
        super().__init__(name=name)
        first = keras.initializers.Constant(0.25)
        self.slope = self.add_weight(shape=(size,), initializer=first, name="slope")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps float32[.., size] to the same shape."""
        return tf.nn.relu(inputs) - self.slope * tf.nn.relu(-inputs)
