import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from halftone.v1 import search_pb2 as _search_pb2
from halftone.v1 import verdicts_pb2 as _verdicts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union
from halftone.v1.verdicts_pb2 import Verdict as Verdict

DESCRIPTOR: _descriptor.FileDescriptor

class CreateClusterJobRequest(_message.Message):
    __slots__ = ("request_id", "from_scratch")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_SCRATCH_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    from_scratch: bool
    def __init__(self, request_id: _Optional[str] = ..., from_scratch: _Optional[bool] = ...) -> None: ...

class ClusterJob(_message.Message):
    __slots__ = ("name", "state", "searched_count", "image_count", "compared_count", "pair_count", "cluster_count", "clustered_image_count", "largest_cluster_size", "model_version", "create_time", "end_time", "error")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[ClusterJob.State]
        RUNNING: _ClassVar[ClusterJob.State]
        SUCCEEDED: _ClassVar[ClusterJob.State]
        FAILED: _ClassVar[ClusterJob.State]
        CANCELLED: _ClassVar[ClusterJob.State]
    STATE_UNSPECIFIED: ClusterJob.State
    RUNNING: ClusterJob.State
    SUCCEEDED: ClusterJob.State
    FAILED: ClusterJob.State
    CANCELLED: ClusterJob.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPARED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PAIR_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLUSTERED_IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    LARGEST_CLUSTER_SIZE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: ClusterJob.State
    searched_count: int
    image_count: int
    compared_count: int
    pair_count: int
    cluster_count: int
    clustered_image_count: int
    largest_cluster_size: int
    model_version: str
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    error: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[ClusterJob.State, str]] = ..., searched_count: _Optional[int] = ..., image_count: _Optional[int] = ..., compared_count: _Optional[int] = ..., pair_count: _Optional[int] = ..., cluster_count: _Optional[int] = ..., clustered_image_count: _Optional[int] = ..., largest_cluster_size: _Optional[int] = ..., model_version: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class GetClusterJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListClusterJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListClusterJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[ClusterJob]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[ClusterJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelClusterJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Cluster(_message.Message):
    __slots__ = ("name", "size", "journal_count", "earliest_date", "latest_date", "span_years", "weakest_link", "first_image", "create_time", "update_time", "members", "links", "journals", "undated_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_DATE_FIELD_NUMBER: _ClassVar[int]
    LATEST_DATE_FIELD_NUMBER: _ClassVar[int]
    SPAN_YEARS_FIELD_NUMBER: _ClassVar[int]
    WEAKEST_LINK_FIELD_NUMBER: _ClassVar[int]
    FIRST_IMAGE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    JOURNALS_FIELD_NUMBER: _ClassVar[int]
    UNDATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    journal_count: int
    earliest_date: str
    latest_date: str
    span_years: int
    weakest_link: float
    first_image: _search_pb2.Image
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    members: _containers.RepeatedCompositeFieldContainer[ClusterMember]
    links: _containers.RepeatedCompositeFieldContainer[Link]
    journals: _containers.RepeatedScalarFieldContainer[str]
    undated_count: int
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., journal_count: _Optional[int] = ..., earliest_date: _Optional[str] = ..., latest_date: _Optional[str] = ..., span_years: _Optional[int] = ..., weakest_link: _Optional[float] = ..., first_image: _Optional[_Union[_search_pb2.Image, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., members: _Optional[_Iterable[_Union[ClusterMember, _Mapping]]] = ..., links: _Optional[_Iterable[_Union[Link, _Mapping]]] = ..., journals: _Optional[_Iterable[str]] = ..., undated_count: _Optional[int] = ...) -> None: ...

class ClusterMember(_message.Message):
    __slots__ = ("image", "weakest_link", "link_count", "gap_days", "page")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    WEAKEST_LINK_FIELD_NUMBER: _ClassVar[int]
    LINK_COUNT_FIELD_NUMBER: _ClassVar[int]
    GAP_DAYS_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    image: _search_pb2.Image
    weakest_link: float
    link_count: int
    gap_days: int
    page: _search_pb2.Image
    def __init__(self, image: _Optional[_Union[_search_pb2.Image, _Mapping]] = ..., weakest_link: _Optional[float] = ..., link_count: _Optional[int] = ..., gap_days: _Optional[int] = ..., page: _Optional[_Union[_search_pb2.Image, _Mapping]] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("a", "b", "probability", "relation", "verification", "verdict")
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    a: str
    b: str
    probability: float
    relation: _search_pb2.Hit.Relation
    verification: _search_pb2.Verification
    verdict: _verdicts_pb2.Verdict.Decision
    def __init__(self, a: _Optional[str] = ..., b: _Optional[str] = ..., probability: _Optional[float] = ..., relation: _Optional[_Union[_search_pb2.Hit.Relation, str]] = ..., verification: _Optional[_Union[_search_pb2.Verification, _Mapping]] = ..., verdict: _Optional[_Union[_verdicts_pb2.Verdict.Decision, str]] = ...) -> None: ...

class ListClustersRequest(_message.Message):
    __slots__ = ("filter", "order", "min_size", "min_journal_count", "min_span_years", "page_size", "page_token", "max_weakest_link", "only_unjudged", "unjudged_first")
    class Order(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ORDER_UNSPECIFIED: _ClassVar[ListClustersRequest.Order]
        SIZE: _ClassVar[ListClustersRequest.Order]
        SPAN_YEARS: _ClassVar[ListClustersRequest.Order]
        JOURNAL_COUNT: _ClassVar[ListClustersRequest.Order]
        WEAKEST_LINK: _ClassVar[ListClustersRequest.Order]
    ORDER_UNSPECIFIED: ListClustersRequest.Order
    SIZE: ListClustersRequest.Order
    SPAN_YEARS: ListClustersRequest.Order
    JOURNAL_COUNT: ListClustersRequest.Order
    WEAKEST_LINK: ListClustersRequest.Order
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_JOURNAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_SPAN_YEARS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MAX_WEAKEST_LINK_FIELD_NUMBER: _ClassVar[int]
    ONLY_UNJUDGED_FIELD_NUMBER: _ClassVar[int]
    UNJUDGED_FIRST_FIELD_NUMBER: _ClassVar[int]
    filter: _search_pb2.Filter
    order: ListClustersRequest.Order
    min_size: int
    min_journal_count: int
    min_span_years: int
    page_size: int
    page_token: str
    max_weakest_link: float
    only_unjudged: bool
    unjudged_first: bool
    def __init__(self, filter: _Optional[_Union[_search_pb2.Filter, _Mapping]] = ..., order: _Optional[_Union[ListClustersRequest.Order, str]] = ..., min_size: _Optional[int] = ..., min_journal_count: _Optional[int] = ..., min_span_years: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., max_weakest_link: _Optional[float] = ..., only_unjudged: _Optional[bool] = ..., unjudged_first: _Optional[bool] = ...) -> None: ...

class ListClustersResponse(_message.Message):
    __slots__ = ("clusters", "next_page_token", "total_count")
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    clusters: _containers.RepeatedCompositeFieldContainer[Cluster]
    next_page_token: str
    total_count: int
    def __init__(self, clusters: _Optional[_Iterable[_Union[Cluster, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_count: _Optional[int] = ...) -> None: ...

class ListPairsToJudgeRequest(_message.Message):
    __slots__ = ("cluster", "reasons", "page_size", "page_token")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    reasons: _containers.RepeatedScalarFieldContainer[PairToJudge.Reason]
    page_size: int
    page_token: str
    def __init__(self, cluster: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[PairToJudge.Reason, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPairsToJudgeResponse(_message.Message):
    __slots__ = ("pairs", "next_page_token", "remaining_count", "total_count")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REMAINING_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedCompositeFieldContainer[PairToJudge]
    next_page_token: str
    remaining_count: int
    total_count: int
    def __init__(self, pairs: _Optional[_Iterable[_Union[PairToJudge, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., remaining_count: _Optional[int] = ..., total_count: _Optional[int] = ...) -> None: ...

class PairToJudge(_message.Message):
    __slots__ = ("a", "b", "probability", "relation", "verification", "reason", "priority", "a_cluster", "b_cluster", "affected_count")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[PairToJudge.Reason]
        NEAR_THRESHOLD: _ClassVar[PairToJudge.Reason]
        WEAKEST_LINK: _ClassVar[PairToJudge.Reason]
        DISAGREEMENT: _ClassVar[PairToJudge.Reason]
    REASON_UNSPECIFIED: PairToJudge.Reason
    NEAR_THRESHOLD: PairToJudge.Reason
    WEAKEST_LINK: PairToJudge.Reason
    DISAGREEMENT: PairToJudge.Reason
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    A_CLUSTER_FIELD_NUMBER: _ClassVar[int]
    B_CLUSTER_FIELD_NUMBER: _ClassVar[int]
    AFFECTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    a: _search_pb2.Image
    b: _search_pb2.Image
    probability: float
    relation: _search_pb2.Hit.Relation
    verification: _search_pb2.Verification
    reason: PairToJudge.Reason
    priority: float
    a_cluster: str
    b_cluster: str
    affected_count: int
    def __init__(self, a: _Optional[_Union[_search_pb2.Image, _Mapping]] = ..., b: _Optional[_Union[_search_pb2.Image, _Mapping]] = ..., probability: _Optional[float] = ..., relation: _Optional[_Union[_search_pb2.Hit.Relation, str]] = ..., verification: _Optional[_Union[_search_pb2.Verification, _Mapping]] = ..., reason: _Optional[_Union[PairToJudge.Reason, str]] = ..., priority: _Optional[float] = ..., a_cluster: _Optional[str] = ..., b_cluster: _Optional[str] = ..., affected_count: _Optional[int] = ...) -> None: ...

class GetClusterRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class JudgePairRequest(_message.Message):
    __slots__ = ("a", "b", "decision", "note", "author")
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    a: str
    b: str
    decision: _verdicts_pb2.Verdict.Decision
    note: str
    author: str
    def __init__(self, a: _Optional[str] = ..., b: _Optional[str] = ..., decision: _Optional[_Union[_verdicts_pb2.Verdict.Decision, str]] = ..., note: _Optional[str] = ..., author: _Optional[str] = ...) -> None: ...

class ListVerdictsRequest(_message.Message):
    __slots__ = ("image", "history", "page_size", "page_token")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    image: str
    history: bool
    page_size: int
    page_token: str
    def __init__(self, image: _Optional[str] = ..., history: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListVerdictsResponse(_message.Message):
    __slots__ = ("verdicts", "next_page_token")
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[_verdicts_pb2.Verdict]
    next_page_token: str
    def __init__(self, verdicts: _Optional[_Iterable[_Union[_verdicts_pb2.Verdict, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteVerdictRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
