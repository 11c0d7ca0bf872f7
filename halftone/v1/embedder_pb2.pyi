from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Region(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    width: int
    height: int
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("values", "dimension", "model_version")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    values: bytes
    dimension: int
    model_version: str
    def __init__(self, values: _Optional[bytes] = ..., dimension: _Optional[int] = ..., model_version: _Optional[str] = ...) -> None: ...

class ImageInput(_message.Message):
    __slots__ = ("content", "region", "include_mirrored", "include_rotated")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_MIRRORED_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ROTATED_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    region: Region
    include_mirrored: bool
    include_rotated: bool
    def __init__(self, content: _Optional[bytes] = ..., region: _Optional[_Union[Region, _Mapping]] = ..., include_mirrored: _Optional[bool] = ..., include_rotated: _Optional[bool] = ...) -> None: ...

class EmbedImagesRequest(_message.Message):
    __slots__ = ("images", "model_version")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[ImageInput]
    model_version: str
    def __init__(self, images: _Optional[_Iterable[_Union[ImageInput, _Mapping]]] = ..., model_version: _Optional[str] = ...) -> None: ...

class EmbedImagesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[EmbedImageResult]
    def __init__(self, results: _Optional[_Iterable[_Union[EmbedImageResult, _Mapping]]] = ...) -> None: ...

class EmbedImageResult(_message.Message):
    __slots__ = ("embeddings", "error")
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    embeddings: ImageEmbeddings
    error: _status_pb2.Status
    def __init__(self, embeddings: _Optional[_Union[ImageEmbeddings, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class ImageEmbeddings(_message.Message):
    __slots__ = ("embedding", "oriented_embeddings", "width", "height")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ORIENTED_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    embedding: Embedding
    oriented_embeddings: _containers.RepeatedCompositeFieldContainer[OrientedEmbedding]
    width: int
    height: int
    def __init__(self, embedding: _Optional[_Union[Embedding, _Mapping]] = ..., oriented_embeddings: _Optional[_Iterable[_Union[OrientedEmbedding, _Mapping]]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class OrientedEmbedding(_message.Message):
    __slots__ = ("mirrored", "rotation", "embedding")
    MIRRORED_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    mirrored: bool
    rotation: int
    embedding: Embedding
    def __init__(self, mirrored: _Optional[bool] = ..., rotation: _Optional[int] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[LoadedModel]
    def __init__(self, models: _Optional[_Iterable[_Union[LoadedModel, _Mapping]]] = ...) -> None: ...

class LoadedModel(_message.Message):
    __slots__ = ("model_version", "dimension", "device", "backend", "active")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    dimension: int
    device: str
    backend: str
    active: bool
    def __init__(self, model_version: _Optional[str] = ..., dimension: _Optional[int] = ..., device: _Optional[str] = ..., backend: _Optional[str] = ..., active: _Optional[bool] = ...) -> None: ...
