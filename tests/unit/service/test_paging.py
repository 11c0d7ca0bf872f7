"""Pages of lists: sizes, tokens and what they are bound to."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from pydantic import TypeAdapter

from halftone.core import errors
from halftone.service.paging import Pager
from halftone.v1 import clusters_pb2, search_pb2

NUMBERS = list(range(25))
PAGER = Pager(TypeAdapter(tuple[str, int]), default_size=10)
SEARCHES = Pager(TypeAdapter(tuple[int, str]), default_size=20, size_field="limit")


def answer(request):
    """The page of a list of numbers, and its next token."""
    page = PAGER.read(request)
    start = page.position[1] + 1 if page.position else 0
    found = NUMBERS[start : start + page.size + 1]
    return page.cut(found), page.next_token(found, position=lambda number: ("at", number))


def forge(token, position):
    """The token with another position and the checksum that belongs to it."""
    return encode([*json.loads(decode(token)[8:])[:2], position])


def encode(content):
    """The token with some content and the checksum that belongs to it."""
    body = json.dumps(content).encode()
    made = hashlib.sha256(body).digest()[:8] + body
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def decode(token):
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def test_pages_follow_each_other_and_end():
    request = search_pb2.ListImagesRequest()
    seen, sizes = [], iter((10, 7, 8))
    while True:
        page, token = answer(request)
        seen += page
        assert len(page) == next(sizes)
        if not token:
            break
        # The page size may change from page to page.
        request.page_size = {10: 7, 7: 8}[len(page)]
        request.page_token = token
    assert seen == NUMBERS


@pytest.mark.parametrize("size", [0, -1, 1_001])
def test_the_size_is_bounded(size):
    with pytest.raises(errors.InvalidArgument) as raised:
        PAGER.read(search_pb2.ListImagesRequest(page_size=size))
    assert raised.value.message == f"page_size: {size}; it must be 1 to 1000."
    assert raised.value.field == "page_size"
    with pytest.raises(errors.InvalidArgument) as raised:
        SEARCHES.read(search_pb2.SearchImagesRequest(limit=size))
    assert raised.value.field == "limit"


def token_of(request):
    return PAGER.read(request).token_at(("at", 3))


def test_a_token_belongs_to_its_request():
    token = token_of(clusters_pb2.ListClusterJobsRequest())
    with pytest.raises(errors.InvalidArgument, match="belongs to another request") as raised:
        PAGER.read(search_pb2.ListImagesRequest(page_token=token))
    assert raised.value.field == "page_token"
    token = token_of(search_pb2.ListImagesRequest())
    other = search_pb2.ListImagesRequest(
        page_token=token, filter=search_pb2.Filter(journals=["Mirror"])
    )
    with pytest.raises(errors.InvalidArgument, match="belongs to another request"):
        PAGER.read(other)


def test_a_token_belongs_to_its_model_version():
    request = search_pb2.SearchImagesRequest(image="archives/a/images/b")
    request.page_token = SEARCHES.read(request, model_version="press/1").token_at((20, "0"))
    assert SEARCHES.read(request, model_version="press/1").position == (20, "0")
    with pytest.raises(errors.ModelVersionMismatch, match="belongs to press/1; press/2 answers"):
        SEARCHES.read(request, model_version="press/2")


def test_a_list_without_a_model_version_does_not_speak_of_one():
    search = search_pb2.SearchImagesRequest(image="archives/a/images/b")
    token = SEARCHES.read(search, model_version="press/1").token_at((20, "0"))
    with pytest.raises(errors.InvalidArgument, match="belongs to another request"):
        PAGER.read(search_pb2.ListImagesRequest(page_token=token))
    search.page_token = GOOD
    with pytest.raises(errors.InvalidArgument, match="belongs to another request"):
        SEARCHES.read(search, model_version="press/1")


def test_what_a_forged_token_says_is_not_repeated_at_length():
    request = search_pb2.SearchImagesRequest(page_token=encode(["", "v" * 100_000, None]))
    with pytest.raises(errors.ModelVersionMismatch) as raised:
        SEARCHES.read(request, model_version="press/1")
    assert len(raised.value.message) < 300


GOOD = token_of(search_pb2.ListImagesRequest())


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        "ä",
        GOOD[:-1],
        GOOD[:-2] + ("aa" if GOOD[-2:] != "aa" else "bb"),
        base64.urlsafe_b64encode(decode(GOOD)[:8] + b"[" * 100_000).decode(),
        *(
            forge(GOOD, position)
            for position in (None, 3, ["at"], ["at", "3"], ["at", 3.0], ["at", True], [3, 3])
        ),
        forge(GOOD, ["\ud800", 3]),
        encode("abc"),
        encode(None),
        encode({"a": 1, "b": 2, "c": 3}),
        encode(["", ""]),
        encode(["", "", ("at", 3), ""]),
        encode([1, "", ("at", 3)]),
        encode(["", 1, ("at", 3)]),
        encode(["f", "\ud800", 1]),
        encode(["\ud800", "", 1]),
    ],
)
def test_a_token_that_nobody_gave_out_is_refused(token):
    with pytest.raises(errors.InvalidArgument, match="no token that this service") as raised:
        PAGER.read(search_pb2.ListImagesRequest(page_token=token))
    assert raised.value.field == "page_token"


def test_a_forged_token_says_what_it_would_have_said():
    request = search_pb2.ListImagesRequest(page_token=forge(GOOD, ["at", 7]))
    assert PAGER.read(request).position == ("at", 7)
