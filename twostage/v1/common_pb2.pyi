import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ShortfallReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHORTFALL_REASON_UNSPECIFIED: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_CATALOGUE_TOO_SMALL: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_EXCLUDED: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_SELECTION_POLICY: _ClassVar[ShortfallReason]
    SHORTFALL_REASON_TOO_FEW_CANDIDATES: _ClassVar[ShortfallReason]
SHORTFALL_REASON_UNSPECIFIED: ShortfallReason
SHORTFALL_REASON_CATALOGUE_TOO_SMALL: ShortfallReason
SHORTFALL_REASON_EXCLUDED: ShortfallReason
SHORTFALL_REASON_SELECTION_POLICY: ShortfallReason
SHORTFALL_REASON_TOO_FEW_CANDIDATES: ShortfallReason

class History(_message.Message):
    __slots__ = ("rows", "item_ids", "actions", "values", "times_seconds")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TIMES_SECONDS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedScalarFieldContainer[int]
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    actions: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedScalarFieldContainer[float]
    times_seconds: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, rows: _Optional[_Iterable[int]] = ..., item_ids: _Optional[_Iterable[str]] = ..., actions: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[float]] = ..., times_seconds: _Optional[_Iterable[int]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("conditions",)
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("attribute", "any_of", "none_of", "range")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    NONE_OF_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    any_of: _containers.RepeatedScalarFieldContainer[str]
    none_of: _containers.RepeatedScalarFieldContainer[str]
    range: Range
    def __init__(self, attribute: _Optional[str] = ..., any_of: _Optional[_Iterable[str]] = ..., none_of: _Optional[_Iterable[str]] = ..., range: _Optional[_Union[Range, _Mapping]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("min", "max")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    min: float
    max: float
    def __init__(self, min: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("surface", "device", "locale", "time", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    surface: str
    device: str
    locale: str
    time: _timestamp_pb2.Timestamp
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, surface: _Optional[str] = ..., device: _Optional[str] = ..., locale: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Diversity(_message.Message):
    __slots__ = ("strength", "caps")
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    CAPS_FIELD_NUMBER: _ClassVar[int]
    strength: float
    caps: _containers.RepeatedCompositeFieldContainer[Cap]
    def __init__(self, strength: _Optional[float] = ..., caps: _Optional[_Iterable[_Union[Cap, _Mapping]]] = ...) -> None: ...

class Cap(_message.Message):
    __slots__ = ("attribute", "max_count")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    MAX_COUNT_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    max_count: int
    def __init__(self, attribute: _Optional[str] = ..., max_count: _Optional[int] = ...) -> None: ...

class Shortfall(_message.Message):
    __slots__ = ("missing_count", "reason")
    MISSING_COUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    missing_count: int
    reason: ShortfallReason
    def __init__(self, missing_count: _Optional[int] = ..., reason: _Optional[_Union[ShortfallReason, str]] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("stage", "compute_ms", "transport_ms")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_MS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    compute_ms: float
    transport_ms: float
    def __init__(self, stage: _Optional[str] = ..., compute_ms: _Optional[float] = ..., transport_ms: _Optional[float] = ...) -> None: ...

class GenerationStatus(_message.Message):
    __slots__ = ("generation", "item_count", "active")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    item_count: int
    active: bool
    def __init__(self, generation: _Optional[int] = ..., item_count: _Optional[int] = ..., active: _Optional[bool] = ...) -> None: ...

class RefusedGeneration(_message.Message):
    __slots__ = ("generation", "reason")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    generation: int
    reason: str
    def __init__(self, generation: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("item_id", "title", "attention", "similarity", "retrieval_part", "ranking_effect")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_PART_FIELD_NUMBER: _ClassVar[int]
    RANKING_EFFECT_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    title: str
    attention: float
    similarity: float
    retrieval_part: float
    ranking_effect: float
    def __init__(self, item_id: _Optional[str] = ..., title: _Optional[str] = ..., attention: _Optional[float] = ..., similarity: _Optional[float] = ..., retrieval_part: _Optional[float] = ..., ranking_effect: _Optional[float] = ...) -> None: ...

class ServiceStatus(_message.Message):
    __slots__ = ("service", "version", "uptime_seconds", "serving", "generations", "libraries", "detail", "refused", "preparing_generation")
    class LibrariesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    PREPARING_GENERATION_FIELD_NUMBER: _ClassVar[int]
    service: str
    version: str
    uptime_seconds: float
    serving: bool
    generations: _containers.RepeatedCompositeFieldContainer[GenerationStatus]
    libraries: _containers.ScalarMap[str, str]
    detail: str
    refused: _containers.RepeatedCompositeFieldContainer[RefusedGeneration]
    preparing_generation: int
    def __init__(self, service: _Optional[str] = ..., version: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., serving: _Optional[bool] = ..., generations: _Optional[_Iterable[_Union[GenerationStatus, _Mapping]]] = ..., libraries: _Optional[_Mapping[str, str]] = ..., detail: _Optional[str] = ..., refused: _Optional[_Iterable[_Union[RefusedGeneration, _Mapping]]] = ..., preparing_generation: _Optional[int] = ...) -> None: ...
