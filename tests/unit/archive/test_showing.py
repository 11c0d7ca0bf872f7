"""What of a picture its record lets others see."""

from __future__ import annotations

import pytest

from halftone.archive import showing
from halftone.archive.manifests import read_manifest
from halftone.archive.showing import Show
from halftone.core import errors
from halftone.v1 import search_pb2


@pytest.mark.parametrize("show", list(Show))
@pytest.mark.parametrize("wanted", [Show.THUMBNAIL, Show.FULL])
def test_a_record_shows_what_it_says_and_what_is_less(show, wanted):
    order = [Show.NONE, Show.THUMBNAIL, Show.FULL]
    if order.index(show) >= order.index(wanted):
        showing.check_shown(show, wanted=wanted, name="archives/a/images/1")
        return
    with pytest.raises(errors.PermissionDenied, match="archives/a/images/1") as raised:
        showing.check_shown(show, wanted=wanted, name="archives/a/images/1")
    assert (raised.value.reason, raised.value.metadata["show"]) == (showing.NOT_SHOWN, show)


@pytest.mark.parametrize("show", list(Show))
def test_values_travel(show):
    assert showing.read_show(search_pb2.Image(show=showing.to_message(show))) is show
    assert showing.parse_show(f" {show.upper()} ") is show


def test_an_unset_value_is_none_and_one_of_a_later_release_shows_nothing():
    assert showing.read_show(search_pb2.Image()) is None
    assert showing.read_show(search_pb2.Image(show=9)) is Show.NONE


def test_every_value_of_the_contract_is_known():
    values = set(search_pb2.Image.Show.values()) - {search_pb2.Image.SHOW_UNSPECIFIED}
    assert {showing.to_message(show) for show in Show} == values


def test_a_manifest_says_what_is_shown(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    lines = ["image_id,file,show", "1,a.jpg,None", "2,a.jpg,", "3,a.jpg,perhaps", "4,a.jpg,full"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    first, second, third, fourth = read_manifest(tmp_path, archive="a")
    assert first.image.show == search_pb2.Image.NONE
    assert second.image.show == search_pb2.Image.SHOW_UNSPECIFIED
    assert third.error.field == "show"
    assert fourth.image.show == search_pb2.Image.FULL
    assert not first.image.labels
