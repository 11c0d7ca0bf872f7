"""Pictures and pages to look at, drawn, so that tests need no files."""

from __future__ import annotations

import pytest

from tests.support.pictures.printed_pages import printed_page, scene


@pytest.fixture
def picture():
    """A drawn picture by its seed."""
    return scene


@pytest.fixture
def page():
    """A page of text with pictures, set at their left and top."""
    return printed_page
