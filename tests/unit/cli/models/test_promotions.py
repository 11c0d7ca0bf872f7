"""What `halftone models promote` reads and says, without a service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest

from halftone.cli.models.promotions import read_groups, report, run_promotion
from halftone.client import Comparison, Promotion, PromotionState

if TYPE_CHECKING:
    from pathlib import Path


def test_groups_of_image_ids_need_an_archive(tmp_path: Path):
    path = tmp_path / "groups.json"
    path.write_text(json.dumps([{"members": ["archives/press/images/1", "2"]}]))
    with pytest.raises(click.UsageError, match="--archive"):
        read_groups(path, archive="")
    whole = [["archives/press/images/1", "archives/press/images/2"]]
    assert read_groups(path, archive="press") == whole
    path.write_text(json.dumps([{"members": whole[0]}]))
    assert read_groups(path, archive="") == whole


def test_a_refusal_names_the_option(capsys: pytest.CaptureFixture[str]):
    refused = Promotion(
        id="1",
        model_version="a/2",
        from_model_version="a/1",
        state=PromotionState.REFUSED,
        comparison=Comparison(refusal="mAP falls"),
    )
    assert not report(refused, as_json=False)
    output = capsys.readouterr().out
    assert "a/1 stays active. a/2 is worse: mAP falls. Promote it with --force" in output


def test_interrupting_the_showing_says_that_the_promotion_goes_on(capsys):
    class Interrupted:
        def watch_promotion(self):
            raise KeyboardInterrupt

    begun = Promotion(
        id="1",
        model_version="a/2",
        from_model_version="a/1",
        state=PromotionState.EMBEDDING,
    )
    with pytest.raises(SystemExit) as ended:
        run_promotion(Interrupted(), lambda: begun, as_json=False)
    assert ended.value.code == 130
    assert "The promotion goes on" in capsys.readouterr().err
