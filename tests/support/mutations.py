"""Messages that are almost right: requests of a method, and what chance makes of their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    import random

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

TEXTS = (
    "",
    "archives/press/images/1",
    "archives/%/images/../..",
    "clusters/1",
    "starter/1",
    "-",
    "1914-08~",
    "9999-99-99",
    "\x00\x1b[2J",
    "\ufeff\uff1d1",
    "a" * 5_000,
    "🂡" * 50,
)
NUMBERS = (0, 1, -1, 2, 7, 50, 1_000, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))


def make_seed(descriptor: Descriptor, *, draw: random.Random, depth: int = 0) -> Message:
    """Return a message of that type with some of its fields set to values that mean something."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if draw.random() < 0.4:
            continue
        count = draw.choice((1, 1, 2, 5)) if field.is_repeated else 1
        for _ in range(count):
            if field.type == field.TYPE_MESSAGE:
                if depth > 3 or field.message_type.GetOptions().map_entry:
                    continue
                value = make_seed(field.message_type, draw=draw, depth=depth + 1)
                if field.is_repeated:
                    getattr(message, field.name).append(value)
                else:
                    getattr(message, field.name).CopyFrom(value)
                continue
            value = _make_value(field, draw=draw)
            try:
                if field.is_repeated:
                    getattr(message, field.name).append(value)
                else:
                    setattr(message, field.name, value)
            except ValueError:
                continue  # out of the range of its type
    return message


def _make_value(field: object, *, draw: random.Random) -> object:
    if field.type == field.TYPE_STRING:
        return draw.choice(TEXTS)
    if field.type == field.TYPE_BYTES:
        return draw.choice((b"", draw.randbytes(16), b"\x89PNG\r\n\x1a\n" + draw.randbytes(40)))
    if field.type == field.TYPE_ENUM:
        return draw.choice([value.number for value in field.enum_type.values] + [99])
    if field.type == field.TYPE_BOOL:
        return draw.random() < 0.5
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return draw.choice((0.0, 0.5, -1.0, 1e308, float("nan"), float("inf")))
    return draw.choice(NUMBERS)


def mutate(content: bytes, *, draw: random.Random) -> bytes:
    """Return bytes that were changed in one to four places, or not at all."""
    changed = bytearray(content)
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        at = draw.randrange(len(changed) + 1)
        match draw.randrange(5):
            case 0 if changed:
                changed[min(at, len(changed) - 1)] ^= 1 << draw.randrange(8)
            case 1:
                changed[at:at] = draw.randbytes(draw.choice((1, 2, 9)))
            case 2:
                del changed[at : at + draw.choice((1, 3, 30))]
            case 3:
                changed[at:at] = changed[: draw.randrange(64)]
            case _:
                # A length, or a number, of the largest kind.
                changed[at:at] = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
    return bytes(changed)
