"""Labelled archives, as they are read."""

from __future__ import annotations

import json
import unicodedata

import pytest

from halftone.evaluation.labelled import read_labelled
from halftone.evaluation.truth import read_truth


@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_groups_name_images_in_whatever_normal_form(written, tmp_path):
    rows = ["image_id,file,journal", "é,é.jpg,Ä", "ö,ö.jpg,B"]
    for name in ("é.jpg", "ö.jpg"):
        (tmp_path / name).write_bytes(b"picture")
    (tmp_path / "manifest.csv").write_text(unicodedata.normalize("NFC", "\n".join(rows)))
    members = [unicodedata.normalize(written, name) for name in ("é", "ö")]
    groups = [{"group": "g", "members": members, "composite": False, "links": []}]
    (tmp_path / "groups.json").write_text(json.dumps(groups, ensure_ascii=False))
    (tmp_path / "groups.csv").write_text(
        "\n".join(["image_id,group", *(f"{m},g" for m in members)])
    )

    for given in (None, tmp_path / "groups.json", tmp_path / "groups.csv"):
        archive = read_labelled(tmp_path, groups=given)
        assert archive.left_out == ()
        assert archive.truth().matches.tolist() == [[0, 1]]
    truth = read_truth(tmp_path, image_ids=["é", "ö"], journals={"é": "Ä", "ö": "B"})
    assert truth.matches.tolist() == [[0, 1]]
