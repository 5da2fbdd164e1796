from twostage.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_USER_VECTOR: _ClassVar[Source]
    SOURCE_POPULAR: _ClassVar[Source]
    SOURCE_INTEREST_TAGS: _ClassVar[Source]
    SOURCE_INCLUDED: _ClassVar[Source]
    SOURCE_INTEREST_VECTORS: _ClassVar[Source]
    SOURCE_NEIGHBOURS: _ClassVar[Source]
    SOURCE_TRENDING: _ClassVar[Source]
    SOURCE_NEW: _ClassVar[Source]
    SOURCE_REPRESENTATIVES: _ClassVar[Source]
SOURCE_UNSPECIFIED: Source
SOURCE_USER_VECTOR: Source
SOURCE_POPULAR: Source
SOURCE_INTEREST_TAGS: Source
SOURCE_INCLUDED: Source
SOURCE_INTEREST_VECTORS: Source
SOURCE_NEIGHBOURS: Source
SOURCE_TRENDING: Source
SOURCE_NEW: Source
SOURCE_REPRESENTATIVES: Source

class Quota(_message.Message):
    __slots__ = ("source", "max_count")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MAX_COUNT_FIELD_NUMBER: _ClassVar[int]
    source: Source
    max_count: int
    def __init__(self, source: _Optional[_Union[Source, str]] = ..., max_count: _Optional[int] = ...) -> None: ...

class RetrieveRequest(_message.Message):
    __slots__ = ("generation", "history", "interest_tags", "filter", "exclude_item_ids", "exclude_rows", "count", "quotas", "include_item_ids", "return_item_ids", "return_source_ranks", "shard", "return_history_weights")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    INTEREST_TAGS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ROWS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    RETURN_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    RETURN_SOURCE_RANKS_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    RETURN_HISTORY_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    history: _common_pb2.History
    interest_tags: _containers.RepeatedScalarFieldContainer[str]
    filter: _common_pb2.Filter
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    exclude_rows: _containers.RepeatedScalarFieldContainer[int]
    count: int
    quotas: _containers.RepeatedCompositeFieldContainer[Quota]
    include_item_ids: _containers.RepeatedScalarFieldContainer[str]
    return_item_ids: bool
    return_source_ranks: bool
    shard: ShardRequest
    return_history_weights: bool
    def __init__(self, generation: _Optional[int] = ..., history: _Optional[_Union[_common_pb2.History, _Mapping]] = ..., interest_tags: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., exclude_rows: _Optional[_Iterable[int]] = ..., count: _Optional[int] = ..., quotas: _Optional[_Iterable[_Union[Quota, _Mapping]]] = ..., include_item_ids: _Optional[_Iterable[str]] = ..., return_item_ids: _Optional[bool] = ..., return_source_ranks: _Optional[bool] = ..., shard: _Optional[_Union[ShardRequest, _Mapping]] = ..., return_history_weights: _Optional[bool] = ...) -> None: ...

class ShardRequest(_message.Message):
    __slots__ = ("with_shared_sources", "exhaustive")
    WITH_SHARED_SOURCES_FIELD_NUMBER: _ClassVar[int]
    EXHAUSTIVE_FIELD_NUMBER: _ClassVar[int]
    with_shared_sources: bool
    exhaustive: bool
    def __init__(self, with_shared_sources: _Optional[bool] = ..., exhaustive: _Optional[bool] = ...) -> None: ...

class SourceList(_message.Message):
    __slots__ = ("source", "group", "rows", "keys", "code_keys", "scores", "wanted_count", "pool_count")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    CODE_KEYS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    WANTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    POOL_COUNT_FIELD_NUMBER: _ClassVar[int]
    source: Source
    group: int
    rows: _containers.RepeatedScalarFieldContainer[int]
    keys: _containers.RepeatedScalarFieldContainer[float]
    code_keys: _containers.RepeatedScalarFieldContainer[float]
    scores: _containers.RepeatedScalarFieldContainer[float]
    wanted_count: int
    pool_count: int
    def __init__(self, source: _Optional[_Union[Source, str]] = ..., group: _Optional[int] = ..., rows: _Optional[_Iterable[int]] = ..., keys: _Optional[_Iterable[float]] = ..., code_keys: _Optional[_Iterable[float]] = ..., scores: _Optional[_Iterable[float]] = ..., wanted_count: _Optional[int] = ..., pool_count: _Optional[int] = ...) -> None: ...

class SourceRanks(_message.Message):
    __slots__ = ("source", "ranks")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    source: Source
    ranks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, source: _Optional[_Union[Source, str]] = ..., ranks: _Optional[_Iterable[int]] = ...) -> None: ...

class CandidateColumns(_message.Message):
    __slots__ = ("rows", "scores", "sources", "item_ids", "source_ranks")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_RANKS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedScalarFieldContainer[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    sources: _containers.RepeatedScalarFieldContainer[int]
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    source_ranks: _containers.RepeatedCompositeFieldContainer[SourceRanks]
    def __init__(self, rows: _Optional[_Iterable[int]] = ..., scores: _Optional[_Iterable[float]] = ..., sources: _Optional[_Iterable[int]] = ..., item_ids: _Optional[_Iterable[str]] = ..., source_ranks: _Optional[_Iterable[_Union[SourceRanks, _Mapping]]] = ...) -> None: ...

class RetrieveResponse(_message.Message):
    __slots__ = ("generation", "candidates", "history_rows", "shortfall", "timings", "lists", "allowed_count", "answered_shard", "history_weights")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_ROWS_FIELD_NUMBER: _ClassVar[int]
    SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_SHARD_FIELD_NUMBER: _ClassVar[int]
    HISTORY_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    candidates: CandidateColumns
    history_rows: _containers.RepeatedScalarFieldContainer[int]
    shortfall: _common_pb2.Shortfall
    timings: _containers.RepeatedCompositeFieldContainer[_common_pb2.Timing]
    lists: _containers.RepeatedCompositeFieldContainer[SourceList]
    allowed_count: int
    answered_shard: Shard
    history_weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, generation: _Optional[int] = ..., candidates: _Optional[_Union[CandidateColumns, _Mapping]] = ..., history_rows: _Optional[_Iterable[int]] = ..., shortfall: _Optional[_Union[_common_pb2.Shortfall, _Mapping]] = ..., timings: _Optional[_Iterable[_Union[_common_pb2.Timing, _Mapping]]] = ..., lists: _Optional[_Iterable[_Union[SourceList, _Mapping]]] = ..., allowed_count: _Optional[int] = ..., answered_shard: _Optional[_Union[Shard, _Mapping]] = ..., history_weights: _Optional[_Iterable[float]] = ...) -> None: ...

class Shard(_message.Message):
    __slots__ = ("index", "count")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    index: int
    count: int
    def __init__(self, index: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class RetrievalServiceSimilarItemsRequest(_message.Message):
    __slots__ = ("generation", "item_id", "count", "filter", "exclude_item_ids", "shard")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    generation: int
    item_id: str
    count: int
    filter: _common_pb2.Filter
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    shard: ShardRequest
    def __init__(self, generation: _Optional[int] = ..., item_id: _Optional[str] = ..., count: _Optional[int] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., shard: _Optional[_Union[ShardRequest, _Mapping]] = ...) -> None: ...

class RetrievalServiceSimilarItemsResponse(_message.Message):
    __slots__ = ("generation", "items", "shortfall", "timings", "lists", "allowed_count", "answered_shard")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_SHARD_FIELD_NUMBER: _ClassVar[int]
    generation: int
    items: CandidateColumns
    shortfall: _common_pb2.Shortfall
    timings: _containers.RepeatedCompositeFieldContainer[_common_pb2.Timing]
    lists: _containers.RepeatedCompositeFieldContainer[SourceList]
    allowed_count: int
    answered_shard: Shard
    def __init__(self, generation: _Optional[int] = ..., items: _Optional[_Union[CandidateColumns, _Mapping]] = ..., shortfall: _Optional[_Union[_common_pb2.Shortfall, _Mapping]] = ..., timings: _Optional[_Iterable[_Union[_common_pb2.Timing, _Mapping]]] = ..., lists: _Optional[_Iterable[_Union[SourceList, _Mapping]]] = ..., allowed_count: _Optional[int] = ..., answered_shard: _Optional[_Union[Shard, _Mapping]] = ...) -> None: ...

class RetrievalServiceGetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RetrievalServiceGetStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.ServiceStatus
    def __init__(self, status: _Optional[_Union[_common_pb2.ServiceStatus, _Mapping]] = ...) -> None: ...
