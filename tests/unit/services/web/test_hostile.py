"""Uploads of those who mean harm, or whose scanner broke."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.support import hostile
from tests.support.client.page import find_token


def send(browser, uploads):
    """Send uploads to the search and yield each with its answer."""
    token = find_token(browser.get("/import").text)
    for upload in uploads:
        file = (upload.name, upload.content, upload.type)
        yield upload, browser.post("/pictures", data={"token": token}, files={"file": file})


def check(browser, count, *, seed):
    addresses = []
    for upload, answer in send(browser, hostile.make_uploads(count, seed=seed)):
        what = (upload.kind, upload.name[:40], answer.text[:300])
        assert answer.status_code in {303, 400}, what
        assert "Something went wrong" not in answer.text, what
        assert "x-injected" not in answer.headers, what
        if answer.status_code == 303:
            addresses.append(answer.headers["location"])
    # Some are pictures after all. What a browser gets of these is made anew, from their pixels.
    assert addresses
    for address in addresses:
        token = address.removeprefix("/search?picture=")
        preview = browser.get(f"/pictures/{token}.jpg")
        assert preview.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(preview.content)).format == "JPEG"
        assert b"window.ran" not in preview.content
        assert max(Image.open(io.BytesIO(preview.content)).size) <= 1024
    assert browser.get("/healthz").status_code == 200


def test_hostile_uploads_are_refused_or_are_pictures(browser):
    check(browser, 48, seed=1)


@pytest.mark.soak
def test_five_hundred_hostile_uploads(browser):
    check(browser, 500, seed=2)
