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

class ItemOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ITEM_OUTCOME_UNSPECIFIED: _ClassVar[ItemOutcome]
    ITEM_OUTCOME_RECOMMENDED: _ClassVar[ItemOutcome]
    ITEM_OUTCOME_EXCLUDED: _ClassVar[ItemOutcome]
    ITEM_OUTCOME_FILTERED: _ClassVar[ItemOutcome]
    ITEM_OUTCOME_NOT_RETRIEVED: _ClassVar[ItemOutcome]
    ITEM_OUTCOME_OUTRANKED: _ClassVar[ItemOutcome]
    ITEM_OUTCOME_PASSED_OVER: _ClassVar[ItemOutcome]

class ExplainEffect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPLAIN_EFFECT_UNSPECIFIED: _ClassVar[ExplainEffect]
    EXPLAIN_EFFECT_KEPT: _ClassVar[ExplainEffect]
    EXPLAIN_EFFECT_MOVED: _ClassVar[ExplainEffect]
    EXPLAIN_EFFECT_LOST: _ClassVar[ExplainEffect]
RUNG_UNSPECIFIED: Rung
RUNG_FULL: Rung
RUNG_FEWER_CANDIDATES: Rung
RUNG_RETRIEVAL_ORDER: Rung
RUNG_CACHED: Rung
RUNG_POPULAR: Rung
ITEM_OUTCOME_UNSPECIFIED: ItemOutcome
ITEM_OUTCOME_RECOMMENDED: ItemOutcome
ITEM_OUTCOME_EXCLUDED: ItemOutcome
ITEM_OUTCOME_FILTERED: ItemOutcome
ITEM_OUTCOME_NOT_RETRIEVED: ItemOutcome
ITEM_OUTCOME_OUTRANKED: ItemOutcome
ITEM_OUTCOME_PASSED_OVER: ItemOutcome
EXPLAIN_EFFECT_UNSPECIFIED: ExplainEffect
EXPLAIN_EFFECT_KEPT: ExplainEffect
EXPLAIN_EFFECT_MOVED: ExplainEffect
EXPLAIN_EFFECT_LOST: ExplainEffect

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
    __slots__ = ("item_id", "score", "action_scores", "title", "attributes", "sources", "reasons", "candidate_rank", "trace", "explanations", "propensity")
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
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
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
    propensity: float
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., action_scores: _Optional[_Mapping[str, float]] = ..., title: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., sources: _Optional[_Iterable[str]] = ..., reasons: _Optional[_Iterable[str]] = ..., candidate_rank: _Optional[int] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ..., explanations: _Optional[_Iterable[_Union[_common_pb2.Explanation, _Mapping]]] = ..., propensity: _Optional[float] = ...) -> None: ...

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

class ExplainRequest(_message.Message):
    __slots__ = ("request", "item_id")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    request: RecommendRequest
    item_id: str
    def __init__(self, request: _Optional[_Union[RecommendRequest, _Mapping]] = ..., item_id: _Optional[str] = ...) -> None: ...

class ExplainStep(_message.Message):
    __slots__ = ("stage", "rule", "effect", "numbers", "words")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    rule: str
    effect: ExplainEffect
    numbers: _containers.ScalarMap[str, float]
    words: str
    def __init__(self, stage: _Optional[str] = ..., rule: _Optional[str] = ..., effect: _Optional[_Union[ExplainEffect, str]] = ..., numbers: _Optional[_Mapping[str, float]] = ..., words: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("request_id", "generation", "rung", "rung_reason", "outcome", "lost_by", "position", "recommendation", "steps", "arms")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    RUNG_REASON_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LOST_BY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    generation: int
    rung: Rung
    rung_reason: str
    outcome: ItemOutcome
    lost_by: str
    position: int
    recommendation: Recommendation
    steps: _containers.RepeatedCompositeFieldContainer[ExplainStep]
    arms: _containers.RepeatedCompositeFieldContainer[Arm]
    def __init__(self, request_id: _Optional[str] = ..., generation: _Optional[int] = ..., rung: _Optional[_Union[Rung, str]] = ..., rung_reason: _Optional[str] = ..., outcome: _Optional[_Union[ItemOutcome, str]] = ..., lost_by: _Optional[str] = ..., position: _Optional[int] = ..., recommendation: _Optional[_Union[Recommendation, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[ExplainStep, _Mapping]]] = ..., arms: _Optional[_Iterable[_Union[Arm, _Mapping]]] = ...) -> None: ...

class GetUserRequest(_message.Message):
    __slots__ = ("user_id", "max_event_count")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    max_event_count: int
    def __init__(self, user_id: _Optional[str] = ..., max_event_count: _Optional[int] = ...) -> None: ...

class StoredEvent(_message.Message):
    __slots__ = ("event_id", "item_id", "action", "time", "value", "request_id")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    item_id: str
    action: str
    time: _timestamp_pb2.Timestamp
    value: float
    request_id: str
    def __init__(self, event_id: _Optional[str] = ..., item_id: _Optional[str] = ..., action: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., value: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetUserResponse(_message.Message):
    __slots__ = ("user_id", "event_count", "events", "expire_time")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    event_count: int
    events: _containers.RepeatedCompositeFieldContainer[StoredEvent]
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, user_id: _Optional[str] = ..., event_count: _Optional[int] = ..., events: _Optional[_Iterable[_Union[StoredEvent, _Mapping]]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DeleteUserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class DeleteUserResponse(_message.Message):
    __slots__ = ("deleted_event_count",)
    DELETED_EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    deleted_event_count: int
    def __init__(self, deleted_event_count: _Optional[int] = ...) -> None: ...

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
