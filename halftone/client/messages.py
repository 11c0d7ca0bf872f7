"""Read protobuf messages into the client's types."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from google.protobuf import timestamp_pb2
    from google.protobuf.message import Message

T = TypeVar("T", bound="DataclassInstance")


def parse_fields(message: Message, kind: type[T], **others: Any) -> T:
    """Return a value of the dataclass `kind`, with the message's fields of the same names.

    A field whose name ends in `_time` becomes a datetime, or None if it is not set.

    Args:
        message: The message.
        kind: The dataclass.
        others: Values of fields that are not plain copies.
    """
    values = {
        name: parse_time(message, name) if name.endswith("_time") else getattr(message, name)
        for name in _list_names(kind)
        if name not in others
    }
    return kind(**values, **others)


@functools.cache
def _list_names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def parse_time(message: Message, name: str) -> dt.datetime | None:
    """Return the field `name` of a message, which holds a time, or None if it is not set."""
    if not message.HasField(name):
        return None
    value: timestamp_pb2.Timestamp = getattr(message, name)
    return value.ToDatetime(tzinfo=dt.UTC)
