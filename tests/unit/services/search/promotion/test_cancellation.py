"""The wish to stop a promotion."""

from __future__ import annotations

import asyncio

import pytest

from halftone.services.search.promotion.cancellation import Cancellation, StopPromotion
from halftone.services.search.promotion.files import PromotionFiles


async def test_a_wish_is_seen_while_it_is_watched_for(tmp_path):
    files = PromotionFiles(tmp_path)
    cancellation = Cancellation("one", files=files)
    watching = asyncio.create_task(cancellation.watch())
    files.ask_to_cancel("another")
    await asyncio.sleep(0.3)
    cancellation.check()
    assert not watching.done()
    files.ask_to_cancel("one")
    async with asyncio.timeout(10):
        await watching
    with pytest.raises(StopPromotion):
        cancellation.check()
    assert cancellation.read()


def test_a_file_that_cannot_be_read_is_no_wish(tmp_path):
    (tmp_path / "promotion.cancel").mkdir()
    cancellation = Cancellation("one", files=PromotionFiles(tmp_path))
    assert not cancellation.read()
    cancellation.check()
