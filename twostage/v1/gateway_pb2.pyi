import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from twostage.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Rung(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNG_UNSPECIFIED: _ClassVar[Rung]
    RUNG_FULL: _ClassVar[Rung]
    RUNG_FEWER_CANDIDATES: _ClassVar[Rung]
    RUNG_RETRIEVAL_ORDER: _ClassVar[Rung]
    RUNG_CACHED: _ClassVar[Rung]
    RUNG_POPULAR: _ClassVar[Rung]
RUNG_UNSPECIFIED: Rung
RUNG_FULL: Rung
RUNG_FEWER_CANDIDATES: Rung
RUNG_RETRIEVAL_ORDER: Rung
RUNG_CACHED: Rung
RUNG_POPULAR: Rung

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "recent_item_ids", "interest_tags", "count", "context", "filter", "exclude_item_ids", "include_seen", "diversity", "attributes", "explain", "trace", "ranker", "blend", "pinned_item_ids")
    class BlendEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RECENT_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    INTEREST_TAGS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    RANKER_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    PINNED_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    recent_item_ids: _containers.RepeatedScalarFieldContainer[str]
    interest_tags: _containers.RepeatedScalarFieldContainer[str]
    count: int
    context: _common_pb2.Context
    filter: _common_pb2.Filter
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    include_seen: bool
    diversity: _common_pb2.Diversity
    attributes: _containers.RepeatedScalarFieldContainer[str]
    explain: bool
    trace: bool
    ranker: str
    blend: _containers.ScalarMap[str, float]
    pinned_item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_id: _Optional[str] = ..., recent_item_ids: _Optional[_Iterable[str]] = ..., interest_tags: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ..., context: _Optional[_Union[_common_pb2.Context, _Mapping]] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., include_seen: _Optional[bool] = ..., diversity: _Optional[_Union[_common_pb2.Diversity, _Mapping]] = ..., attributes: _Optional[_Iterable[str]] = ..., explain: _Optional[bool] = ..., trace: _Optional[bool] = ..., ranker: _Optional[str] = ..., blend: _Optional[_Mapping[str, float]] = ..., pinned_item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Recommendation(_message.Message):
    __slots__ = ("item_id", "score", "action_scores", "title", "attributes", "sources", "reasons", "candidate_rank", "trace", "explanations")
    class ActionScoresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SCORES_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_RANK_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    score: float
    action_scores: _containers.ScalarMap[str, float]
    title: str
    attributes: _containers.ScalarMap[str, str]
    sources: _containers.RepeatedScalarFieldContainer[str]
    reasons: _containers.RepeatedScalarFieldContainer[str]
    candidate_rank: int
    trace: Trace
    explanations: _containers.RepeatedCompositeFieldContainer[_common_pb2.Explanation]
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., action_scores: _Optional[_Mapping[str, float]] = ..., title: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., sources: _Optional[_Iterable[str]] = ..., reasons: _Optional[_Iterable[str]] = ..., candidate_rank: _Optional[int] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ..., explanations: _Optional[_Iterable[_Union[_common_pb2.Explanation, _Mapping]]] = ...) -> None: ...

class Trace(_message.Message):
    __slots__ = ("retrieval_score", "retrieval_rank", "ranking_rank", "final_rank", "source_ranks", "steps")
    class SourceRanksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RETRIEVAL_SCORE_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_RANK_FIELD_NUMBER: _ClassVar[int]
    RANKING_RANK_FIELD_NUMBER: _ClassVar[int]
    FINAL_RANK_FIELD_NUMBER: _ClassVar[int]
    SOURCE_RANKS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    retrieval_score: float
    retrieval_rank: int
    ranking_rank: int
    final_rank: int
    source_ranks: _containers.ScalarMap[str, int]
    steps: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, retrieval_score: _Optional[float] = ..., retrieval_rank: _Optional[int] = ..., ranking_rank: _Optional[int] = ..., final_rank: _Optional[int] = ..., source_ranks: _Optional[_Mapping[str, int]] = ..., steps: _Optional[_Iterable[str]] = ...) -> None: ...

class Arm(_message.Message):
    __slots__ = ("experiment", "arm")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    arm: str
    def __init__(self, experiment: _Optional[str] = ..., arm: _Optional[str] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("request_id", "recommendations", "shortfall", "generation", "rung", "rung_reason", "arms", "timings", "unknown_item_count", "ranker")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATIONS_FIELD_NUMBER: _ClassVar[int]
    SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    RUNG_REASON_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    RANKER_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    recommendations: _containers.RepeatedCompositeFieldContainer[Recommendation]
    shortfall: _common_pb2.Shortfall
    generation: int
    rung: Rung
    rung_reason: str
    arms: _containers.RepeatedCompositeFieldContainer[Arm]
    timings: _containers.RepeatedCompositeFieldContainer[_common_pb2.Timing]
    unknown_item_count: int
    ranker: str
    def __init__(self, request_id: _Optional[str] = ..., recommendations: _Optional[_Iterable[_Union[Recommendation, _Mapping]]] = ..., shortfall: _Optional[_Union[_common_pb2.Shortfall, _Mapping]] = ..., generation: _Optional[int] = ..., rung: _Optional[_Union[Rung, str]] = ..., rung_reason: _Optional[str] = ..., arms: _Optional[_Iterable[_Union[Arm, _Mapping]]] = ..., timings: _Optional[_Iterable[_Union[_common_pb2.Timing, _Mapping]]] = ..., unknown_item_count: _Optional[int] = ..., ranker: _Optional[str] = ...) -> None: ...

class RecommendationServiceSimilarItemsRequest(_message.Message):
    __slots__ = ("item_id", "count", "filter", "exclude_item_ids", "attributes")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    count: int
    filter: _common_pb2.Filter
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    attributes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, item_id: _Optional[str] = ..., count: _Optional[int] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Iterable[str]] = ...) -> None: ...

class SimilarItem(_message.Message):
    __slots__ = ("item_id", "score", "title", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    score: float
    title: str
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., title: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RecommendationServiceSimilarItemsResponse(_message.Message):
    __slots__ = ("request_id", "items", "shortfall", "generation", "rung", "rung_reason", "timings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    RUNG_REASON_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    items: _containers.RepeatedCompositeFieldContainer[SimilarItem]
    shortfall: _common_pb2.Shortfall
    generation: int
    rung: Rung
    rung_reason: str
    timings: _containers.RepeatedCompositeFieldContainer[_common_pb2.Timing]
    def __init__(self, request_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[SimilarItem, _Mapping]]] = ..., shortfall: _Optional[_Union[_common_pb2.Shortfall, _Mapping]] = ..., generation: _Optional[int] = ..., rung: _Optional[_Union[Rung, str]] = ..., rung_reason: _Optional[str] = ..., timings: _Optional[_Iterable[_Union[_common_pb2.Timing, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("event_id", "user_id", "item_id", "action", "time", "value", "request_id")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    user_id: str
    item_id: str
    action: str
    time: _timestamp_pb2.Timestamp
    value: float
    request_id: str
    def __init__(self, event_id: _Optional[str] = ..., user_id: _Optional[str] = ..., item_id: _Optional[str] = ..., action: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., value: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class RecordEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class RejectedEvent(_message.Message):
    __slots__ = ("index", "event_id", "reason")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    index: int
    event_id: str
    reason: str
    def __init__(self, index: _Optional[int] = ..., event_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RecordEventsResponse(_message.Message):
    __slots__ = ("accepted_count", "rejected")
    ACCEPTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    accepted_count: int
    rejected: _containers.RepeatedCompositeFieldContainer[RejectedEvent]
    def __init__(self, accepted_count: _Optional[int] = ..., rejected: _Optional[_Iterable[_Union[RejectedEvent, _Mapping]]] = ...) -> None: ...

class RecommendationServiceGetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StageStatus(_message.Message):
    __slots__ = ("stage", "address", "status", "error")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    stage: str
    address: str
    status: _common_pb2.ServiceStatus
    error: str
    def __init__(self, stage: _Optional[str] = ..., address: _Optional[str] = ..., status: _Optional[_Union[_common_pb2.ServiceStatus, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class RecommendationServiceGetStatusResponse(_message.Message):
    __slots__ = ("status", "stages")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.ServiceStatus
    stages: _containers.RepeatedCompositeFieldContainer[StageStatus]
    def __init__(self, status: _Optional[_Union[_common_pb2.ServiceStatus, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[StageStatus, _Mapping]]] = ...) -> None: ...
