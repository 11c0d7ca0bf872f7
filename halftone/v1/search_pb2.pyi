import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from halftone.v1 import embedder_pb2 as _embedder_pb2
from halftone.v1 import verdicts_pb2 as _verdicts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Image(_message.Message):
    __slots__ = ("name", "journal", "date", "page", "caption", "language", "page_region", "source_uri", "rights", "labels", "earliest_date", "latest_date", "content_sha256", "width", "height", "same_content", "create_time", "update_time", "show", "page_image")
    class Show(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SHOW_UNSPECIFIED: _ClassVar[Image.Show]
        NONE: _ClassVar[Image.Show]
        THUMBNAIL: _ClassVar[Image.Show]
        FULL: _ClassVar[Image.Show]
    SHOW_UNSPECIFIED: Image.Show
    NONE: Image.Show
    THUMBNAIL: Image.Show
    FULL: Image.Show
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Labels
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Labels, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_REGION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    RIGHTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_DATE_FIELD_NUMBER: _ClassVar[int]
    LATEST_DATE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SAME_CONTENT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SHOW_FIELD_NUMBER: _ClassVar[int]
    PAGE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    journal: str
    date: str
    page: str
    caption: str
    language: str
    page_region: _embedder_pb2.Region
    source_uri: str
    rights: str
    labels: _containers.MessageMap[str, Labels]
    earliest_date: str
    latest_date: str
    content_sha256: str
    width: int
    height: int
    same_content: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    show: Image.Show
    page_image: str
    def __init__(self, name: _Optional[str] = ..., journal: _Optional[str] = ..., date: _Optional[str] = ..., page: _Optional[str] = ..., caption: _Optional[str] = ..., language: _Optional[str] = ..., page_region: _Optional[_Union[_embedder_pb2.Region, _Mapping]] = ..., source_uri: _Optional[str] = ..., rights: _Optional[str] = ..., labels: _Optional[_Mapping[str, Labels]] = ..., earliest_date: _Optional[str] = ..., latest_date: _Optional[str] = ..., content_sha256: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., same_content: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., show: _Optional[_Union[Image.Show, str]] = ..., page_image: _Optional[str] = ...) -> None: ...

class Labels(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("archives", "journals", "languages", "date", "caption_text", "labels", "exclude", "kind", "page_images")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Filter.Kind]
        PICTURE: _ClassVar[Filter.Kind]
        PAGE: _ClassVar[Filter.Kind]
    KIND_UNSPECIFIED: Filter.Kind
    PICTURE: Filter.Kind
    PAGE: Filter.Kind
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Labels
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Labels, _Mapping]] = ...) -> None: ...
    ARCHIVES_FIELD_NUMBER: _ClassVar[int]
    JOURNALS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    CAPTION_TEXT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PAGE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    archives: _containers.RepeatedScalarFieldContainer[str]
    journals: _containers.RepeatedScalarFieldContainer[str]
    languages: _containers.RepeatedScalarFieldContainer[str]
    date: DateRange
    caption_text: str
    labels: _containers.MessageMap[str, Labels]
    exclude: Filter
    kind: Filter.Kind
    page_images: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, archives: _Optional[_Iterable[str]] = ..., journals: _Optional[_Iterable[str]] = ..., languages: _Optional[_Iterable[str]] = ..., date: _Optional[_Union[DateRange, _Mapping]] = ..., caption_text: _Optional[str] = ..., labels: _Optional[_Mapping[str, Labels]] = ..., exclude: _Optional[_Union[Filter, _Mapping]] = ..., kind: _Optional[_Union[Filter.Kind, str]] = ..., page_images: _Optional[_Iterable[str]] = ...) -> None: ...

class DateRange(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: str
    end: str
    def __init__(self, start: _Optional[str] = ..., end: _Optional[str] = ...) -> None: ...

class ImportImagesRequest(_message.Message):
    __slots__ = ("image", "content", "path", "row")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    image: Image
    content: bytes
    path: str
    row: int
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., content: _Optional[bytes] = ..., path: _Optional[str] = ..., row: _Optional[int] = ...) -> None: ...

class ImportImagesResponse(_message.Message):
    __slots__ = ("row", "name", "state", "error", "notes")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[ImportImagesResponse.State]
        CREATED: _ClassVar[ImportImagesResponse.State]
        UNCHANGED: _ClassVar[ImportImagesResponse.State]
        UPDATED: _ClassVar[ImportImagesResponse.State]
        REJECTED: _ClassVar[ImportImagesResponse.State]
    STATE_UNSPECIFIED: ImportImagesResponse.State
    CREATED: ImportImagesResponse.State
    UNCHANGED: ImportImagesResponse.State
    UPDATED: ImportImagesResponse.State
    REJECTED: ImportImagesResponse.State
    ROW_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    row: int
    name: str
    state: ImportImagesResponse.State
    error: _status_pb2.Status
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, row: _Optional[int] = ..., name: _Optional[str] = ..., state: _Optional[_Union[ImportImagesResponse.State, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class GetImageRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListImagesRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    page_size: int
    page_token: str
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListImagesResponse(_message.Message):
    __slots__ = ("images", "next_page_token")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    next_page_token: str
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateImageRequest(_message.Message):
    __slots__ = ("image", "update_mask")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    image: Image
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteImagesRequest(_message.Message):
    __slots__ = ("names", "filter", "everything", "validate_only")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    filter: Filter
    everything: bool
    validate_only: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., everything: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class DeleteImagesResponse(_message.Message):
    __slots__ = ("deleted_count",)
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    deleted_count: int
    def __init__(self, deleted_count: _Optional[int] = ...) -> None: ...

class SearchImagesRequest(_message.Message):
    __slots__ = ("content", "image", "embedding", "region", "filter", "limit", "page_token", "min_similarity", "skip_mirrored", "skip_rotated", "min_probability", "verify_count")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    SKIP_MIRRORED_FIELD_NUMBER: _ClassVar[int]
    SKIP_ROTATED_FIELD_NUMBER: _ClassVar[int]
    MIN_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    VERIFY_COUNT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    image: str
    embedding: _embedder_pb2.Embedding
    region: _embedder_pb2.Region
    filter: Filter
    limit: int
    page_token: str
    min_similarity: float
    skip_mirrored: bool
    skip_rotated: bool
    min_probability: float
    verify_count: int
    def __init__(self, content: _Optional[bytes] = ..., image: _Optional[str] = ..., embedding: _Optional[_Union[_embedder_pb2.Embedding, _Mapping]] = ..., region: _Optional[_Union[_embedder_pb2.Region, _Mapping]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., limit: _Optional[int] = ..., page_token: _Optional[str] = ..., min_similarity: _Optional[float] = ..., skip_mirrored: _Optional[bool] = ..., skip_rotated: _Optional[bool] = ..., min_probability: _Optional[float] = ..., verify_count: _Optional[int] = ...) -> None: ...

class SearchImagesResponse(_message.Message):
    __slots__ = ("hits", "next_page_token", "model_version", "verified_count", "out_of_time_count", "verdicts_unavailable")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_TIME_COUNT_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    next_page_token: str
    model_version: str
    verified_count: int
    out_of_time_count: int
    verdicts_unavailable: bool
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., model_version: _Optional[str] = ..., verified_count: _Optional[int] = ..., out_of_time_count: _Optional[int] = ..., verdicts_unavailable: _Optional[bool] = ...) -> None: ...

class Verification(_message.Message):
    __slots__ = ("state", "overlaps")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Verification.State]
        OVERLAPPING: _ClassVar[Verification.State]
        NO_OVERLAP: _ClassVar[Verification.State]
        NOT_COMPARED: _ClassVar[Verification.State]
        OUT_OF_TIME: _ClassVar[Verification.State]
    STATE_UNSPECIFIED: Verification.State
    OVERLAPPING: Verification.State
    NO_OVERLAP: Verification.State
    NOT_COMPARED: Verification.State
    OUT_OF_TIME: Verification.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    OVERLAPS_FIELD_NUMBER: _ClassVar[int]
    state: Verification.State
    overlaps: _containers.RepeatedCompositeFieldContainer[Overlap]
    def __init__(self, state: _Optional[_Union[Verification.State, str]] = ..., overlaps: _Optional[_Iterable[_Union[Overlap, _Mapping]]] = ...) -> None: ...

class Overlap(_message.Message):
    __slots__ = ("inlier_count", "homography", "query_polygon", "image_polygon", "query_share", "image_share", "mirrored", "rotation", "scale", "negative", "parts", "differences", "agreeing_share", "contradicting_share")
    INLIER_COUNT_FIELD_NUMBER: _ClassVar[int]
    HOMOGRAPHY_FIELD_NUMBER: _ClassVar[int]
    QUERY_POLYGON_FIELD_NUMBER: _ClassVar[int]
    IMAGE_POLYGON_FIELD_NUMBER: _ClassVar[int]
    QUERY_SHARE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SHARE_FIELD_NUMBER: _ClassVar[int]
    MIRRORED_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    AGREEING_SHARE_FIELD_NUMBER: _ClassVar[int]
    CONTRADICTING_SHARE_FIELD_NUMBER: _ClassVar[int]
    inlier_count: int
    homography: _containers.RepeatedScalarFieldContainer[float]
    query_polygon: _containers.RepeatedCompositeFieldContainer[Point]
    image_polygon: _containers.RepeatedCompositeFieldContainer[Point]
    query_share: float
    image_share: float
    mirrored: bool
    rotation: float
    scale: float
    negative: bool
    parts: _containers.RepeatedCompositeFieldContainer[OverlapPart]
    differences: _containers.RepeatedCompositeFieldContainer[Difference]
    agreeing_share: float
    contradicting_share: float
    def __init__(self, inlier_count: _Optional[int] = ..., homography: _Optional[_Iterable[float]] = ..., query_polygon: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., image_polygon: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., query_share: _Optional[float] = ..., image_share: _Optional[float] = ..., mirrored: _Optional[bool] = ..., rotation: _Optional[float] = ..., scale: _Optional[float] = ..., negative: _Optional[bool] = ..., parts: _Optional[_Iterable[_Union[OverlapPart, _Mapping]]] = ..., differences: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ..., agreeing_share: _Optional[float] = ..., contradicting_share: _Optional[float] = ...) -> None: ...

class OverlapPart(_message.Message):
    __slots__ = ("query_polygon", "image_polygon")
    QUERY_POLYGON_FIELD_NUMBER: _ClassVar[int]
    IMAGE_POLYGON_FIELD_NUMBER: _ClassVar[int]
    query_polygon: _containers.RepeatedCompositeFieldContainer[Point]
    image_polygon: _containers.RepeatedCompositeFieldContainer[Point]
    def __init__(self, query_polygon: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., image_polygon: _Optional[_Iterable[_Union[Point, _Mapping]]] = ...) -> None: ...

class Difference(_message.Message):
    __slots__ = ("part", "share", "certainty")
    PART_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    CERTAINTY_FIELD_NUMBER: _ClassVar[int]
    part: OverlapPart
    share: float
    certainty: float
    def __init__(self, part: _Optional[_Union[OverlapPart, _Mapping]] = ..., share: _Optional[float] = ..., certainty: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class CompareImagesRequest(_message.Message):
    __slots__ = ("query", "image", "query_region")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    QUERY_REGION_FIELD_NUMBER: _ClassVar[int]
    query: str
    image: str
    query_region: _embedder_pb2.Region
    def __init__(self, query: _Optional[str] = ..., image: _Optional[str] = ..., query_region: _Optional[_Union[_embedder_pb2.Region, _Mapping]] = ...) -> None: ...

class CompareImagesResponse(_message.Message):
    __slots__ = ("hit", "model_version", "verdicts_unavailable")
    HIT_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    hit: Hit
    model_version: str
    verdicts_unavailable: bool
    def __init__(self, hit: _Optional[_Union[Hit, _Mapping]] = ..., model_version: _Optional[str] = ..., verdicts_unavailable: _Optional[bool] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("image", "similarity", "mirrored", "rotation", "probability", "relation", "verification", "pdq_distance", "words_similarity", "verdict", "negative", "page")
    class Relation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RELATION_UNSPECIFIED: _ClassVar[Hit.Relation]
        SAME_SCAN: _ClassVar[Hit.Relation]
        REPRINT: _ClassVar[Hit.Relation]
        CROP_OF: _ClassVar[Hit.Relation]
        CONTAINS: _ClassVar[Hit.Relation]
        MIRRORED: _ClassVar[Hit.Relation]
        COMPOSITE: _ClassVar[Hit.Relation]
        SAME_SCENE: _ClassVar[Hit.Relation]
        UNRELATED: _ClassVar[Hit.Relation]
        NOT_COMPARED: _ClassVar[Hit.Relation]
        SHARED_ELEMENTS: _ClassVar[Hit.Relation]
        ON_PAGE: _ClassVar[Hit.Relation]
    RELATION_UNSPECIFIED: Hit.Relation
    SAME_SCAN: Hit.Relation
    REPRINT: Hit.Relation
    CROP_OF: Hit.Relation
    CONTAINS: Hit.Relation
    MIRRORED: Hit.Relation
    COMPOSITE: Hit.Relation
    SAME_SCENE: Hit.Relation
    UNRELATED: Hit.Relation
    NOT_COMPARED: Hit.Relation
    SHARED_ELEMENTS: Hit.Relation
    ON_PAGE: Hit.Relation
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    MIRRORED_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    PDQ_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    WORDS_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    image: Image
    similarity: float
    mirrored: bool
    rotation: int
    probability: float
    relation: Hit.Relation
    verification: Verification
    pdq_distance: int
    words_similarity: float
    verdict: _verdicts_pb2.Verdict
    negative: bool
    page: Image
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., similarity: _Optional[float] = ..., mirrored: _Optional[bool] = ..., rotation: _Optional[int] = ..., probability: _Optional[float] = ..., relation: _Optional[_Union[Hit.Relation, str]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., pdq_distance: _Optional[int] = ..., words_similarity: _Optional[float] = ..., verdict: _Optional[_Union[_verdicts_pb2.Verdict, _Mapping]] = ..., negative: _Optional[bool] = ..., page: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...

class BatchSearchImagesRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[SearchImagesRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[SearchImagesRequest, _Mapping]]] = ...) -> None: ...

class BatchSearchImagesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchSearchResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchSearchResult, _Mapping]]] = ...) -> None: ...

class BatchSearchResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: SearchImagesResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[SearchImagesResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class CountFacetsRequest(_message.Message):
    __slots__ = ("filter", "limit", "include_labels", "ignore_own_values", "year_buckets")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_LABELS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_OWN_VALUES_FIELD_NUMBER: _ClassVar[int]
    YEAR_BUCKETS_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    limit: int
    include_labels: bool
    ignore_own_values: bool
    year_buckets: int
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., limit: _Optional[int] = ..., include_labels: _Optional[bool] = ..., ignore_own_values: _Optional[bool] = ..., year_buckets: _Optional[int] = ...) -> None: ...

class CountFacetsResponse(_message.Message):
    __slots__ = ("total_count", "journals", "years", "languages", "archives", "labels", "year_histogram", "undated_count")
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    JOURNALS_FIELD_NUMBER: _ClassVar[int]
    YEARS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    ARCHIVES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    YEAR_HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    UNDATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    total_count: int
    journals: _containers.RepeatedCompositeFieldContainer[Facet]
    years: _containers.RepeatedCompositeFieldContainer[Facet]
    languages: _containers.RepeatedCompositeFieldContainer[Facet]
    archives: _containers.RepeatedCompositeFieldContainer[Facet]
    labels: _containers.RepeatedCompositeFieldContainer[LabelFacet]
    year_histogram: _containers.RepeatedCompositeFieldContainer[YearBucket]
    undated_count: int
    def __init__(self, total_count: _Optional[int] = ..., journals: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., years: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., languages: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., archives: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[LabelFacet, _Mapping]]] = ..., year_histogram: _Optional[_Iterable[_Union[YearBucket, _Mapping]]] = ..., undated_count: _Optional[int] = ...) -> None: ...

class YearBucket(_message.Message):
    __slots__ = ("first_year", "last_year", "count")
    FIRST_YEAR_FIELD_NUMBER: _ClassVar[int]
    LAST_YEAR_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first_year: int
    last_year: int
    count: int
    def __init__(self, first_year: _Optional[int] = ..., last_year: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Facet(_message.Message):
    __slots__ = ("value", "count")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    value: str
    count: int
    def __init__(self, value: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class LabelFacet(_message.Message):
    __slots__ = ("key", "value", "count")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    count: int
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class GetThumbnailRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetThumbnailResponse(_message.Message):
    __slots__ = ("content", "content_type", "rights")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RIGHTS_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    content_type: str
    rights: str
    def __init__(self, content: _Optional[bytes] = ..., content_type: _Optional[str] = ..., rights: _Optional[str] = ...) -> None: ...

class GetImageRegionRequest(_message.Message):
    __slots__ = ("name", "region", "share", "width", "height", "fit", "upscale", "mirrored", "rotation", "quality", "format", "compression_quality")
    class Quality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        QUALITY_UNSPECIFIED: _ClassVar[GetImageRegionRequest.Quality]
        COLOR: _ClassVar[GetImageRegionRequest.Quality]
        GRAY: _ClassVar[GetImageRegionRequest.Quality]
        BITONAL: _ClassVar[GetImageRegionRequest.Quality]
    QUALITY_UNSPECIFIED: GetImageRegionRequest.Quality
    COLOR: GetImageRegionRequest.Quality
    GRAY: GetImageRegionRequest.Quality
    BITONAL: GetImageRegionRequest.Quality
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[GetImageRegionRequest.Format]
        JPEG: _ClassVar[GetImageRegionRequest.Format]
        PNG: _ClassVar[GetImageRegionRequest.Format]
        WEBP: _ClassVar[GetImageRegionRequest.Format]
    FORMAT_UNSPECIFIED: GetImageRegionRequest.Format
    JPEG: GetImageRegionRequest.Format
    PNG: GetImageRegionRequest.Format
    WEBP: GetImageRegionRequest.Format
    NAME_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_FIELD_NUMBER: _ClassVar[int]
    MIRRORED_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_QUALITY_FIELD_NUMBER: _ClassVar[int]
    name: str
    region: _embedder_pb2.Region
    share: RegionShare
    width: int
    height: int
    fit: bool
    upscale: bool
    mirrored: bool
    rotation: int
    quality: GetImageRegionRequest.Quality
    format: GetImageRegionRequest.Format
    compression_quality: int
    def __init__(self, name: _Optional[str] = ..., region: _Optional[_Union[_embedder_pb2.Region, _Mapping]] = ..., share: _Optional[_Union[RegionShare, _Mapping]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., fit: _Optional[bool] = ..., upscale: _Optional[bool] = ..., mirrored: _Optional[bool] = ..., rotation: _Optional[int] = ..., quality: _Optional[_Union[GetImageRegionRequest.Quality, str]] = ..., format: _Optional[_Union[GetImageRegionRequest.Format, str]] = ..., compression_quality: _Optional[int] = ...) -> None: ...

class RegionShare(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    width: float
    height: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., width: _Optional[float] = ..., height: _Optional[float] = ...) -> None: ...

class GetImageRegionResponse(_message.Message):
    __slots__ = ("content", "content_type", "width", "height", "region", "image_width", "image_height", "rights")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    IMAGE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    RIGHTS_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    content_type: str
    width: int
    height: int
    region: _embedder_pb2.Region
    image_width: int
    image_height: int
    rights: str
    def __init__(self, content: _Optional[bytes] = ..., content_type: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., region: _Optional[_Union[_embedder_pb2.Region, _Mapping]] = ..., image_width: _Optional[int] = ..., image_height: _Optional[int] = ..., rights: _Optional[str] = ...) -> None: ...
