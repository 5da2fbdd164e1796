"""Tokens as small integers, with hash buckets for tokens never seen before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import xxhash

PADDING = 0
"""The id that stands for no token."""


@dataclass(frozen=True)
class Vocabulary:
    """Maps tokens to ids: 0 is padding, then ``bucket_count`` hash buckets, then the known tokens.

    Args:
        tokens: The known tokens, most frequent first.
        bucket_count: How many ids unknown tokens share, at least 1; a token's bucket depends on its text alone.
    """

    tokens: tuple[str, ...]
    bucket_count: int

    def __post_init__(self) -> None:
        """Checks the bucket count."""
        if self.bucket_count < 1:
            raise ValueError(f"bucket_count: expected at least 1, got {self.bucket_count}")

    @classmethod
    def fit(cls, documents: Iterable[Iterable[str]], *, min_count: int, max_size: int, bucket_count: int) -> Vocabulary:
        """Builds a vocabulary of the tokens that occur in most documents.

        Args:
            documents: Each document's tokens; repeats within a document count once.
            min_count: In how many documents a token must occur, at least 1.
            max_size: How many tokens to keep at most.
            bucket_count: How many ids unknown tokens share.
        """
        counts: Counter[str] = Counter()
        for document in documents:
            counts.update(set(document))
        kept = [(token, count) for token, count in counts.items() if count >= min_count]
        # Ties by the token itself: sets iterate in an order that changes from process to process.
        kept.sort(key=lambda pair: (-pair[1], pair[0]))
        return cls(tuple(token for token, _ in kept[:max_size]), bucket_count)

    @cached_property
    def _positions(self) -> dict[str, int]:
        first = 1 + self.bucket_count
        return {token: first + position for position, token in enumerate(self.tokens)}

    @property
    def size(self) -> int:
        """One more than the greatest id."""
        return 1 + self.bucket_count + len(self.tokens)

    def id_of(self, token: str) -> int:
        """The token's id, its bucket's when it is unknown."""
        position = self._positions.get(token)
        if position is not None:
            return position
        return 1 + xxhash.xxh64_intdigest(token.encode()) % self.bucket_count

    def ids_of(self, tokens: Sequence[str], length: int) -> list[int]:
        """The ids of the first ``length`` tokens, padded with 0 on the right to that length."""
        ids = [self.id_of(token) for token in tokens[:length]]
        return ids + [PADDING] * (length - len(ids))
