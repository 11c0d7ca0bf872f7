"""Check archive records, `halftone.v1.Image`: their names and what their fields may hold.

The service checks arriving records with it, and the readers of manifests check theirs.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from typing import Final, NamedTuple

from halftone.archive import dates
from halftone.core import errors
from halftone.core.spelling import compose
from halftone.v1 import search_pb2

_NAMESPACE: Final = uuid.UUID("484b5d1f-c585-4659-b241-ddac208c8174")
_ARCHIVE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_LABEL_KEY: Final = re.compile(r"[^\s=\x00-\x1f][^=\x00-\x1f]{0,62}")

MAX_IMAGE_ID_BYTES: Final = 512
MAX_LABELS: Final = 64
MAX_LABEL_VALUES: Final = 64
_MAX_CHARACTERS: Final = {
    "journal": 1_000,
    "date": dates.MAX_LENGTH,
    "page": 200,
    "caption": 20_000,
    "language": 64,
    "source_uri": 2_000,
    "rights": 2_000,
    "page_image": 2_000,
}


class Name(NamedTuple):
    """The two parts of `archives/{archive}/images/{image_id}`."""

    archive: str
    image_id: str

    def __str__(self) -> str:
        return f"archives/{self.archive}/images/{self.image_id}"

    @property
    def point_id(self) -> uuid.UUID:
        """Return the id of the record's point in the store: UUIDv5 of archive and image id."""
        return uuid.uuid5(uuid.uuid5(_NAMESPACE, self.archive), self.image_id)


def parse_name(text: str, *, field: str = "name") -> Name:
    """Split a resource name into its parts.

    Args:
        text: `archives/{archive}/images/{image_id}`; an image id may contain slashes.
        field: The field's name in errors.

    A name in another of Unicode's normal forms is that of the same record.

    Raises:
        errors.InvalidArgument: The text is not such a name.
    """
    parts = text.split("/", 3)
    if len(parts) != 4 or parts[0] != "archives" or parts[2] != "images":  # noqa: PLR2004 - see text
        raise errors.InvalidArgument(
            f"{field}: {text[:200]!r} is not of the form archives/{{archive}}/images/{{image_id}}.",
            field=field,
            reason="INVALID_NAME",
        )
    return make_name(parts[1], image_id=compose(parts[3]), field=field)


def make_name(archive: str, *, image_id: str, field: str = "name") -> Name:
    """Make a resource name of archive and image id.

    Args:
        archive: 1 to 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit.
        image_id: 1 to 512 bytes of UTF-8 in normal form C, without control characters, without
            empty, `.` or `..` parts between its slashes, and without space at its ends.
        field: The field's name in errors.

    Raises:
        errors.InvalidArgument: The archive or the image id is not allowed.
    """
    if not _ARCHIVE.fullmatch(archive):
        raise errors.InvalidArgument(
            f"{field}: {archive[:200]!r} cannot name an archive: 1 to 63 letters, digits, '.', '_' "
            "or '-', beginning with a letter or digit.",
            field=field,
            reason="INVALID_NAME",
        )
    problem = _problem_of_image_id(image_id)
    if problem:
        raise errors.InvalidArgument(
            f"{field}: {image_id[:200]!r} cannot be an image_id: {problem}.",
            field=field,
            reason="INVALID_NAME",
        )
    return Name(archive=archive, image_id=image_id)


def _problem_of_image_id(image_id: str) -> str:  # noqa: PLR0911 - one return per rule
    if not image_id:
        return "it is empty"
    try:
        length = len(image_id.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if length > MAX_IMAGE_ID_BYTES:
        return f"it is longer than {MAX_IMAGE_ID_BYTES} bytes"
    if image_id != image_id.strip():
        return "it begins or ends with space"
    if any(unicodedata.category(character) == "Cc" for character in image_id):
        return "it contains a control character"
    # Without this, two ids that look the same would be two records.
    if not unicodedata.is_normalized("NFC", image_id):
        return "it is not in Unicode normal form C"
    if any(part in {"", ".", ".."} for part in image_id.split("/")):
        return "a part between its slashes is empty, '.' or '..'"
    return ""


def validate(image: search_pb2.Image, *, prefix: str = "image.") -> Name:
    """Check the fields of a record that a caller may set.

    Args:
        image: The record; output-only fields are ignored.
        prefix: A text that errors put before the names of fields.

    Returns:
        The parts of the record's name.

    Raises:
        errors.InvalidArgument: A field is wrong; the error names the first such field.
    """
    name = parse_name(image.name, field=f"{prefix}name")
    # A record comes back under the name that it was given.
    make_name(name.archive, image_id=image.name.split("/", 3)[3], field=f"{prefix}name")
    for key, limit in _MAX_CHARACTERS.items():
        _check_text(getattr(image, key), limit=limit, field=f"{prefix}{key}")
    if image.date:
        dates.parse(image.date, field=f"{prefix}date")
    if image.language and not _LANGUAGE.fullmatch(image.language):
        raise errors.InvalidArgument(
            f"{prefix}language: {image.language!r} is not a BCP 47 language tag such as 'de'.",
            field=f"{prefix}language",
        )
    if image.show not in search_pb2.Image.Show.values():
        raise errors.InvalidArgument(
            f"{prefix}show: {image.show} is not known.", field=f"{prefix}show"
        )
    if image.HasField("page_region"):
        region = image.page_region
        if min(region.x, region.y) < 0 or min(region.width, region.height) < 1:
            raise errors.InvalidArgument(
                f"{prefix}page_region: x and y must be at least 0, width and height at least 1.",
                field=f"{prefix}page_region",
            )
    if image.page_image:
        _check_page(image, name=name, field=f"{prefix}page_image")
    _check_labels(image, field=f"{prefix}labels")
    return name


def _check_page(image: search_pb2.Image, *, name: Name, field: str) -> None:
    # Whether there is such a record is not asked: pictures may come before their page.
    page = parse_name(image.page_image, field=field)
    if page == name:
        raise errors.InvalidArgument(
            f"{field}: {image.page_image[:200]!r} is the record itself; leave it empty for a page.",
            field=field,
            reason="OWN_PAGE",
        )
    # It is compared with names as they are, and so has the form of a name.
    make_name(page.archive, image_id=image.page_image.split("/", 3)[3], field=field)


def _check_labels(image: search_pb2.Image, *, field: str) -> None:
    if len(image.labels) > MAX_LABELS:
        raise errors.InvalidArgument(f"{field}: more than {MAX_LABELS} labels.", field=field)
    for key, labels in image.labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise errors.InvalidArgument(
                f"{field}: {key[:80]!r} cannot be a label: 1 to 63 characters without '='.",
                field=field,
            )
        if len(labels.values) > MAX_LABEL_VALUES:
            raise errors.InvalidArgument(
                f"{field}.{key}: more than {MAX_LABEL_VALUES} values.", field=f"{field}.{key}"
            )
        for value in labels.values:
            _check_text(value, limit=1_000, field=f"{field}.{key}")


def _check_text(text: str, *, limit: int, field: str) -> None:
    if len(text) > limit:
        raise errors.InvalidArgument(
            f"{field}: {len(text)} characters, at most {limit} are kept.", field=field
        )
    if "\0" in text:
        raise errors.InvalidArgument(f"{field}: contains a NUL character.", field=field)
