import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelVersion(_message.Message):
    __slots__ = ("name", "active", "previous", "dimension", "backbone", "publish_time", "spec", "metrics", "image_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_TIME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    active: bool
    previous: bool
    dimension: int
    backbone: str
    publish_time: _timestamp_pb2.Timestamp
    spec: _struct_pb2.Struct
    metrics: _struct_pb2.Struct
    image_count: int
    def __init__(self, name: _Optional[str] = ..., active: _Optional[bool] = ..., previous: _Optional[bool] = ..., dimension: _Optional[int] = ..., backbone: _Optional[str] = ..., publish_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., spec: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., metrics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., image_count: _Optional[int] = ...) -> None: ...

class ListModelVersionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class LabelledGroup(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, images: _Optional[_Iterable[str]] = ...) -> None: ...

class PromoteModelVersionRequest(_message.Message):
    __slots__ = ("name", "force", "labelled_groups")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    LABELLED_GROUPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    labelled_groups: _containers.RepeatedCompositeFieldContainer[LabelledGroup]
    def __init__(self, name: _Optional[str] = ..., force: _Optional[bool] = ..., labelled_groups: _Optional[_Iterable[_Union[LabelledGroup, _Mapping]]] = ...) -> None: ...

class RollBackModelVersionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPromotionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchPromotionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelPromotionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeleteModelVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteModelVersionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Promotion(_message.Message):
    __slots__ = ("id", "model_version", "from_model_version", "state", "force", "roll_back", "images_done", "images_total", "images_per_second", "seconds_left", "images_failed", "comparison", "error", "create_time", "update_time", "end_time", "revision")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Promotion.State]
        EMBEDDING: _ClassVar[Promotion.State]
        COMPARING: _ClassVar[Promotion.State]
        SWITCHING: _ClassVar[Promotion.State]
        SUCCEEDED: _ClassVar[Promotion.State]
        FAILED: _ClassVar[Promotion.State]
        CANCELLED: _ClassVar[Promotion.State]
        REFUSED: _ClassVar[Promotion.State]
    STATE_UNSPECIFIED: Promotion.State
    EMBEDDING: Promotion.State
    COMPARING: Promotion.State
    SWITCHING: Promotion.State
    SUCCEEDED: Promotion.State
    FAILED: Promotion.State
    CANCELLED: Promotion.State
    REFUSED: Promotion.State
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FROM_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    ROLL_BACK_FIELD_NUMBER: _ClassVar[int]
    IMAGES_DONE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FAILED_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    id: str
    model_version: str
    from_model_version: str
    state: Promotion.State
    force: bool
    roll_back: bool
    images_done: int
    images_total: int
    images_per_second: float
    seconds_left: float
    images_failed: int
    comparison: Comparison
    error: _status_pb2.Status
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    revision: int
    def __init__(self, id: _Optional[str] = ..., model_version: _Optional[str] = ..., from_model_version: _Optional[str] = ..., state: _Optional[_Union[Promotion.State, str]] = ..., force: _Optional[bool] = ..., roll_back: _Optional[bool] = ..., images_done: _Optional[int] = ..., images_total: _Optional[int] = ..., images_per_second: _Optional[float] = ..., seconds_left: _Optional[float] = ..., images_failed: _Optional[int] = ..., comparison: _Optional[_Union[Comparison, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("sampled_queries", "top10_agreement", "from_figures", "to_figures", "refusal")
    SAMPLED_QUERIES_FIELD_NUMBER: _ClassVar[int]
    TOP10_AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIGURES_FIELD_NUMBER: _ClassVar[int]
    TO_FIGURES_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    sampled_queries: int
    top10_agreement: float
    from_figures: RetrievalFigures
    to_figures: RetrievalFigures
    refusal: str
    def __init__(self, sampled_queries: _Optional[int] = ..., top10_agreement: _Optional[float] = ..., from_figures: _Optional[_Union[RetrievalFigures, _Mapping]] = ..., to_figures: _Optional[_Union[RetrievalFigures, _Mapping]] = ..., refusal: _Optional[str] = ...) -> None: ...

class RetrievalFigures(_message.Message):
    __slots__ = ("queries", "recall_at_1", "mean_average_precision", "micro_average_precision")
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    RECALL_AT_1_FIELD_NUMBER: _ClassVar[int]
    MEAN_AVERAGE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    MICRO_AVERAGE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    queries: int
    recall_at_1: float
    mean_average_precision: float
    micro_average_precision: float
    def __init__(self, queries: _Optional[int] = ..., recall_at_1: _Optional[float] = ..., mean_average_precision: _Optional[float] = ..., micro_average_precision: _Optional[float] = ...) -> None: ...
