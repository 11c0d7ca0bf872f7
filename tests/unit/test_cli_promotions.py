"""What `halftone models promote` reads and says, without a service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest

from halftone.cli_promotions import read_groups

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
