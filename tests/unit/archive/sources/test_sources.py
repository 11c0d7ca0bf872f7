"""The one door to whatever holds records."""

from __future__ import annotations

import pytest
from PIL import Image

from halftone.archive.sources import find_kind, open_source
from halftone.core import errors


def test_a_manifest_is_a_source(tmp_path):
    Image.new("L", (20, 20), 90).save(tmp_path / "a.png")
    path = tmp_path / "manifest.csv"
    path.write_text("image_id,file\none,a.png\ntwo,b.png\n")
    for given in (tmp_path, path):
        source = open_source(given, archive="press")
        assert (source.path, source.folder, source.total) == (path, tmp_path, 2)
        first, second = source.rows
        assert first.image.name == "archives/press/images/one"
        assert second.error.reason == "MISSING_FILE"
        assert source.describe_row(second.number) == "row 3"


def test_a_folder_without_one_is_refused(tmp_path):
    assert find_kind(tmp_path) is None
    with pytest.raises(errors.InvalidArgument, match="holds none"):
        open_source(tmp_path, archive="press")
