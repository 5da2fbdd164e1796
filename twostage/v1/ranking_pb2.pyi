from twostage.v1 import common_pb2 as _common_pb2
from twostage.v1 import retrieval_pb2 as _retrieval_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SelectionPolicy(_message.Message):
    __slots__ = ("diversity", "pinned_rows")
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    PINNED_ROWS_FIELD_NUMBER: _ClassVar[int]
    diversity: _common_pb2.Diversity
    pinned_rows: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, diversity: _Optional[_Union[_common_pb2.Diversity, _Mapping]] = ..., pinned_rows: _Optional[_Iterable[int]] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("generation", "ranker", "history", "context", "candidates", "count", "blend", "selection", "attributes", "explain", "trace", "history_weights")
    class BlendEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RANKER_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    HISTORY_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    ranker: str
    history: _common_pb2.History
    context: _common_pb2.Context
    candidates: _retrieval_pb2.CandidateColumns
    count: int
    blend: _containers.ScalarMap[str, float]
    selection: SelectionPolicy
    attributes: _containers.RepeatedScalarFieldContainer[str]
    explain: bool
    trace: bool
    history_weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, generation: _Optional[int] = ..., ranker: _Optional[str] = ..., history: _Optional[_Union[_common_pb2.History, _Mapping]] = ..., context: _Optional[_Union[_common_pb2.Context, _Mapping]] = ..., candidates: _Optional[_Union[_retrieval_pb2.CandidateColumns, _Mapping]] = ..., count: _Optional[int] = ..., blend: _Optional[_Mapping[str, float]] = ..., selection: _Optional[_Union[SelectionPolicy, _Mapping]] = ..., attributes: _Optional[_Iterable[str]] = ..., explain: _Optional[bool] = ..., trace: _Optional[bool] = ..., history_weights: _Optional[_Iterable[float]] = ...) -> None: ...

class RankedItem(_message.Message):
    __slots__ = ("row", "item_id", "title", "score", "action_scores", "attributes", "candidate_index", "ranking_rank", "reasons", "explanations")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROW_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SCORES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_INDEX_FIELD_NUMBER: _ClassVar[int]
    RANKING_RANK_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    row: int
    item_id: str
    title: str
    score: float
    action_scores: _containers.RepeatedScalarFieldContainer[float]
    attributes: _containers.ScalarMap[str, str]
    candidate_index: int
    ranking_rank: int
    reasons: _containers.RepeatedScalarFieldContainer[str]
    explanations: _containers.RepeatedCompositeFieldContainer[_common_pb2.Explanation]
    def __init__(self, row: _Optional[int] = ..., item_id: _Optional[str] = ..., title: _Optional[str] = ..., score: _Optional[float] = ..., action_scores: _Optional[_Iterable[float]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., candidate_index: _Optional[int] = ..., ranking_rank: _Optional[int] = ..., reasons: _Optional[_Iterable[str]] = ..., explanations: _Optional[_Iterable[_Union[_common_pb2.Explanation, _Mapping]]] = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("generation", "items", "shortfall", "timings", "actions", "ranker")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    RANKER_FIELD_NUMBER: _ClassVar[int]
    generation: int
    items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    shortfall: _common_pb2.Shortfall
    timings: _containers.RepeatedCompositeFieldContainer[_common_pb2.Timing]
    actions: _containers.RepeatedScalarFieldContainer[str]
    ranker: str
    def __init__(self, generation: _Optional[int] = ..., items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., shortfall: _Optional[_Union[_common_pb2.Shortfall, _Mapping]] = ..., timings: _Optional[_Iterable[_Union[_common_pb2.Timing, _Mapping]]] = ..., actions: _Optional[_Iterable[str]] = ..., ranker: _Optional[str] = ...) -> None: ...

class RankingServiceGetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RankingServiceGetStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.ServiceStatus
    def __init__(self, status: _Optional[_Union[_common_pb2.ServiceStatus, _Mapping]] = ...) -> None: ...
