"""Products of every pair of fields, of which whole groups can be computed ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class FieldGroup:
    """Fields' embeddings reduced to what pairs need of them.

    S. Rendle, *Factorization Machines*, 2010, Lemma 3.1: the sum of the products of all pairs is
    ``((sum e)^2 - sum e^2) / 2``, in time linear in the number of fields.

    Args:
        total: float32[.., k], the sum of the embeddings.
        pairs: float32[.., k], the sum of the element-wise products of all pairs.
    """

    total: tf.Tensor
    pairs: tf.Tensor

    @classmethod
    def of(cls, embeddings: Sequence[tf.Tensor]) -> FieldGroup:
        """Reduces embeddings, each float32[.., k]."""
        total = tf.add_n(list(embeddings))
        squares = tf.add_n([embedding * embedding for embedding in embeddings])
        return cls(total, 0.5 * (total * total - squares))

    def join(self, other: FieldGroup) -> FieldGroup:
        """The group of both groups' fields: ``(a + b)^2 = a^2 + b^2 + 2 a b``."""
        return FieldGroup(self.total + other.total, self.pairs + other.pairs + self.total * other.total)
