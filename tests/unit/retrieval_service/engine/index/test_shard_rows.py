from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retrieval_service.engine.index.shard_rows import shard_rows


@given(item_count=st.integers(1, 20_000), count=st.integers(1, 40))
def test_shards_hold_every_row_once_and_in_order(item_count: int, count: int) -> None:
    shards = [shard_rows(index, count, item_count) for index in range(count)]
    assert [row for shard in shards for row in shard] == list(range(item_count))


@given(item_count=st.integers(1, 10_000_000), count=st.integers(1, 40))
def test_shards_begin_at_words_and_differ_by_a_word_at_most(item_count: int, count: int) -> None:
    shards = [shard_rows(index, count, item_count) for index in range(count)]
    assert all(shard.start % 64 == 0 for shard in shards if len(shard))
    words = [-(-len(shard) // 64) for shard in shards]
    assert max(words) - min(words) <= 1


@given(count=st.integers(1, 40), words=st.integers(0, 100), rest=st.integers(0, 63))
def test_no_shard_is_empty_where_each_may_have_a_word(count: int, words: int, rest: int) -> None:
    item_count = 64 * (count + words) + rest
    assert all(len(shard_rows(index, count, item_count)) for index in range(count))


def test_stretches_are_those_that_the_manifest_documents() -> None:
    # 64 floor(i ceil(N / 64) / S): 1000 rows are 16 words, of which three shards get 5, 5 and 6.
    assert [shard_rows(index, 3, 1000) for index in range(3)] == [range(320), range(320, 640), range(640, 1000)]
