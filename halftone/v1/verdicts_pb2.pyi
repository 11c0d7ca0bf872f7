import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(_message.Message):
    __slots__ = ("name", "a", "b", "decision", "note", "author", "create_time", "end_time", "overruled", "overruled_verdicts", "replaced_images")
    class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DECISION_UNSPECIFIED: _ClassVar[Verdict.Decision]
        SAME: _ClassVar[Verdict.Decision]
        DIFFERENT: _ClassVar[Verdict.Decision]
        UNSURE: _ClassVar[Verdict.Decision]
    DECISION_UNSPECIFIED: Verdict.Decision
    SAME: Verdict.Decision
    DIFFERENT: Verdict.Decision
    UNSURE: Verdict.Decision
    NAME_FIELD_NUMBER: _ClassVar[int]
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    OVERRULED_FIELD_NUMBER: _ClassVar[int]
    OVERRULED_VERDICTS_FIELD_NUMBER: _ClassVar[int]
    REPLACED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    a: str
    b: str
    decision: Verdict.Decision
    note: str
    author: str
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    overruled: bool
    overruled_verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    replaced_images: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., a: _Optional[str] = ..., b: _Optional[str] = ..., decision: _Optional[_Union[Verdict.Decision, str]] = ..., note: _Optional[str] = ..., author: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., overruled: _Optional[bool] = ..., overruled_verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ..., replaced_images: _Optional[_Iterable[str]] = ...) -> None: ...
