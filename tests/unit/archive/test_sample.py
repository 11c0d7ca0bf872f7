"""The sample archive, without the press simulation."""

from __future__ import annotations

import pytest

from halftone.archive import dates, manifests, sample


def plain(image, *, seed, caption, mirror):
    return image.rotate(seed % 3).resize((120, 90))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "sample"
    sample.make(folder, reprint=plain)
    return folder


def test_its_manifest_is_like_any_other(folder):
    rows = list(manifests.read_manifest(folder, archive="sample"))
    assert [row.error for row in rows if row.error] == []
    assert 60 <= len(rows) <= 80
    for row in rows:
        dates.parse(row.image.date, field="date")


def test_the_number_of_printings_is_known_beforehand(folder):
    assert len(list(folder.rglob("*.jpg"))) == sample.PRINTINGS


def test_each_photograph_is_printed_in_several_journals_and_others_once(folder):
    by_photograph: dict[str, list[str]] = {}
    for row in manifests.read_manifest(folder, archive="sample"):
        (photograph,) = row.image.labels[sample.PHOTOGRAPH].values
        by_photograph.setdefault(photograph, []).append(row.image.journal)
    for photograph in sample.PHOTOGRAPHS:
        journals = by_photograph.pop(photograph.key)
        assert len(journals) == len(set(journals)) >= 4
        assert sample.query_path(folder, photograph.key).exists()
    assert all(len(journals) == 1 for journals in by_photograph.values())


def test_it_is_made_once(folder):
    def fails(*_arguments, **_options):
        raise AssertionError("it is there already")

    sample.make(folder, reprint=fails)


def test_it_is_the_same_every_time(folder, tmp_path):
    sample.make(tmp_path / "again", reprint=plain)
    manifest = (tmp_path / "again" / "manifest.csv").read_bytes()
    assert manifest == (folder / "manifest.csv").read_bytes()
