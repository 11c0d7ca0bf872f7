"""Clusters and verdicts for other programs: tables, annotations, a data set to train on."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import json
import re

import pytest

from halftone.archive.data_sets import read_listing
from halftone.client import Client, Decision
from halftone.core import errors
from halftone.rendering import cluster_export, verdict_export
from halftone.v1 import search_pb2
from tests.support.client.fake_clusters import FakeClusters

NOW = dt.datetime(2025, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def fake():
    with FakeClusters() as server:
        yield server


@pytest.fixture
def client(fake):
    with Client(fake.address) as connected:
        yield connected


def members(client):
    return cluster_export.fetch_members(client, client.clusters(page_size=1))


def annotations(client):
    file = io.StringIO()
    verdicts = {frozenset((each.a, each.b)): each for each in client.verdicts()}
    cluster_export.write_annotations(members(client), file=file, verdicts=verdicts, now=NOW)
    return json.loads(file.getvalue())


def test_csv_has_a_row_for_each_printing(fake, client):
    names = fake.story()
    file = io.StringIO()
    assert cluster_export.write_csv(members(client), file=file) == 2
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["image"] for row in rows] == names
    assert [row["position"] for row in rows] == ["1", "2", "3", "4", "5", "1", "2"]
    assert rows[0]["is_earliest"] == "1"
    assert rows[0]["caption"] == "A <house>"
    assert (rows[1]["gap_days"], rows[1]["gap"]) == ("80", "3 months later")
    assert rows[1]["mirrored_to_earliest"] == "1"
    assert rows[2]["latest_date"] == "1909-12-31"
    assert (rows[4]["gap_days"], rows[4]["mirrored_to_earliest"]) == ("", "")


def test_exports_say_what_is_a_negative(fake, client):
    first = fake.add_printing("first", date="1900")
    fake.link(first, fake.add_printing("film", date="1950"), negative=True)
    fake.link(first, fake.add_printing("print", date="1960"))
    file = io.StringIO()
    cluster_export.write_csv(members(client), file=file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["negative_of_earliest"] for row in rows] == ["", "1", "0"]
    assert json.dumps(annotations(client)).count("one is a negative of the other") == 1


def test_differences_are_exported(fake, client):
    first, _mirror, crop, *_ = fake.story()
    fake.differ(crop, first, boxes=((10, 20, 110, 80), (410, 20, 510, 80)))
    file = io.StringIO()
    cluster_export.write_csv(members(client), file=file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["differences_to_earliest"] for row in rows[:4]] == ["", "0", "1", ""]
    link = next(each for each in client.cluster(first).links if each.a == crop)
    (overlap,) = cluster_export.link_to_json(link)["overlaps"]
    (found,) = overlap["differences"]
    assert found["part"]["a_polygon"][0] == [10, 20]
    assert found["part"]["b_polygon"][0] == [410, 20]
    # Boxes are those of the later printing, which the annotation is about.
    texts = [
        body["value"]
        for item in annotations(client)["first"]["items"]
        for body in item["body"]
        if body["type"] == "TextualBody"
    ]
    assert sum("differs in 1 place: 10,20,100,60 (x,y,w,h)." in text for text in texts) == 1


def test_no_spreadsheet_takes_a_record_for_a_formula(fake, client):
    names = fake.story()
    fake.records[names[0]].caption = '=HYPERLINK("https://example.org")'
    fake.records[names[0]].journal = "@SUM(A1)"
    file = io.StringIO()
    cluster_export.write_csv(members(client), file=file)
    row = next(csv.DictReader(io.StringIO(file.getvalue())))
    assert row["caption"] == '\'=HYPERLINK("https://example.org")'
    assert row["journal"] == "'@SUM(A1)"


def test_json_lines_hold_links_with_their_geometry(fake, client):
    names = fake.story()
    file = io.StringIO()
    cluster_export.write_jsonl(members(client), file=file)
    first, second = map(json.loads, file.getvalue().splitlines())
    assert (first["name"], first["first_image"]) == ("clusters/album", names[0])
    assert [each["image"]["name"] for each in first["printings"]] == names[:5]
    assert first["links"][0]["relation"] == "mirrored"
    assert first["links"][0]["overlaps"][0]["homography"][0] == -1
    assert second["links"][0]["overlaps"] == []


def test_a_cluster_that_is_gone_meanwhile_is_left_out(fake, client):
    names = fake.story()
    listed = list(client.clusters())
    client.judge(names[5], names[6], "different")
    assert [found.size for found in cluster_export.fetch_members(client, listed)] == [5]


def test_a_cluster_that_became_a_part_of_another_is_written_once(fake, client):
    names = fake.story()
    listed = list(client.clusters())
    client.judge(names[0], names[5], "same")
    moved = [listed[0], dataclasses.replace(listed[1], name=names[5])]
    assert [found.size for found in cluster_export.fetch_members(client, moved)] == [7]


def test_annotations_have_what_the_standard_requires(fake, client):
    fake.story()
    found = annotations(client)
    assert found["@context"] == "http://www.w3.org/ns/anno.jsonld"
    assert found["type"] == "AnnotationCollection"
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", found["id"])
    assert found["first"]["type"] == "AnnotationPage"
    assert found["first"]["id"] == found["last"] != found["id"]
    items = found["first"]["items"]
    assert found["total"] == len(items) == 5
    assert len({item["id"] for item in items}) == 5
    for item in items:
        assert item["@context"] == "http://www.w3.org/ns/anno.jsonld"
        assert item["type"] == "Annotation"
        assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", item["id"])
        assert item["motivation"] == "linking"
        assert DATE_TIME.fullmatch(item["created"])
        assert item["generated"] == "2025-05-06T07:08:09Z"
        assert item["generator"]["type"] == item["creator"]["type"] == "Software"
        for resource in (item["target"], item["body"][0]):
            assert resource["type"] == "SpecificResource"
            assert re.match(r"urn:uuid:|https://", resource["source"]["id"])
            chosen = resource.get("selector")
            assert chosen is None or (chosen["type"], bool(chosen["value"])) in {
                ("FragmentSelector", True),
                ("SvgSelector", True),
            }
        assert item["body"][1]["type"] == "TextualBody"


def test_the_later_printing_is_linked_to_the_earlier(fake, client):
    names = fake.story()
    items = annotations(client)["first"]["items"]
    crop = next(each for each in items if "crop of" in each["body"][1]["value"])
    target, body = crop["target"], crop["body"][0]
    assert target["source"]["id"] == "https://archive.example/woche/2.jpg"
    assert target["source"]["dcterms:identifier"] == names[2]
    assert target["selector"]["value"] == "xywh=pixel:0,0,400,600"
    assert target["selector"]["conformsTo"] == "http://www.w3.org/TR/media-frags/"
    assert body["source"]["dcterms:identifier"] == names[0]
    assert body["selector"]["type"] == "SvgSelector"
    assert 'points="400.0,0.0 800.0,90.0 800.0,600.0 400.0,600.0"' in body["selector"]["value"]


def test_an_archivist_is_the_creator_of_what_she_said(fake, client):
    names = fake.story()
    client.judge(names[0], names[1], "same", note="the same <crack>", author="Eva")
    items = annotations(client)["first"]["items"]
    said = [item for item in items if item["creator"]["type"] == "Person"]
    assert len(said) == 1
    assert said[0]["creator"]["name"] == "Eva"
    assert said[0]["created"] == "2025-03-04T05:06:00Z"
    assert said[0]["body"][2]["value"] == "the same <crack>"
    assert "with a probability of" in said[0]["body"][1]["value"]


def test_what_was_only_said_has_no_probability(fake, client):
    for name in "ab":
        fake.add_printing(name, date="1900", journal=name)
    client.judge(*(member.name for member in client.list()), "same")
    (item,) = annotations(client)["first"]["items"]
    words = item["body"][1]["value"]
    assert words.startswith("The same picture; an archivist says: same;")
    (cluster,) = members(client)
    (link,) = cluster_export.cluster_to_json(cluster)["links"]
    assert (link["probability"], link["verdict"]) == (None, "same")


@pytest.mark.parametrize(
    ("polygon", "value"),
    [
        ([(0, 0), (99.6, 0), (100, 0.3), (100, 80), (0.2, 80), (0, 40)], "xywh=pixel:0,0,100,80"),
        ([(-0.2, 5), (50, 5), (50, 45), (-0.2, 45)], "xywh=pixel:0,5,50,40"),
        ([(0, 0), (100, 0), (0, 80)], 'points="0.0,0.0 100.0,0.0 0.0,80.0"'),
    ],
)
def test_a_selector_is_a_rectangle_where_the_polygon_is(polygon, value):
    assert value in cluster_export.make_selector(polygon)["value"]


@pytest.mark.parametrize(
    ("source", "is_iri"),
    [
        ("https://a.example/1", True),
        ("urn:nbn:de:1", True),
        ("Shelf 12", False),
        ("https://a.example/a b", False),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_a_source_is_an_id_only_where_it_is_an_iri(fake, client, source, is_iri):
    name = fake.add_printing("x", source_uri=source)
    found = cluster_export.find_iri(client.get(name))
    assert (found == source) is is_iri
    assert is_iri or found.startswith("urn:uuid:")


class TestGroups:
    @staticmethod
    def groups(same=(), different=()):
        pairs = verdict_export.Pairs(same=set(same), different=set(different))
        return verdict_export.make_groups(pairs)

    def test_same_is_transitive(self):
        (group,) = self.groups([("a", "b"), ("b", "c")])
        assert group.members == ("a", "b", "c")
        assert not group.composite

    def test_different_tears_nothing_that_is_apart(self):
        first, second = self.groups([("a", "b"), ("c", "d")], [("a", "c")])
        assert (first.members, second.members) == (("a", "b"), ("c", "d"))
        assert not first.composite

    def test_a_contradiction_leaves_only_what_was_said(self):
        (group,) = self.groups([("a", "b"), ("b", "c")], [("a", "c")])
        assert group.composite
        assert group.links == (("a", "b"), ("b", "c"))


class TestDataset:
    def test_the_trainer_reads_it(self, fake, client, tmp_path):
        a, b, c, d, e, other, _ = fake.story()
        client.judge(a, b, "same", note='x, "y"\nz', author="Eva")
        client.judge(b, c, "same")
        client.judge(a, other, "different")
        client.judge(d, e, "unsure")
        client.judge(d, e, "different")
        found = verdict_export.write_dataset(client, directory=tmp_path / "set")
        assert (found.images, found.groups, found.composite, found.verdicts) == (6, 1, 0, 5)
        listing = read_listing([tmp_path / "set"])
        assert not listing.findings
        ids = [entry.image_id for entry in listing.entries]
        assert ids == ["album", "illu/7", "other/1", "sphere/1", "woche/2", "woche/9"]
        (group,) = listing.groups
        assert {ids[member] for member in group.members} == {"sphere/1", "illu/7", "woche/2"}
        assert group.links is None
        assert listing.entries[1].path.read_bytes() == fake.thumbnails[b]
        rows = list(
            csv.DictReader(
                io.StringIO(
                    (tmp_path / "set" / "verdicts.csv").read_text(encoding="utf-8-sig"), newline=""
                )
            )
        )
        assert [row["decision"] for row in rows] == [
            *("different", "unsure", "different", "same", "same"),
        ]
        assert rows[-1]["note"] == 'x, "y"\nz'
        assert rows[-1]["author"] == "Eva"
        assert rows[1]["end_time"]
        assert not rows[0]["end_time"]

    def test_no_spreadsheet_takes_a_note_for_a_formula(self, fake, client, tmp_path):
        a, b, *_ = fake.story()
        client.judge(a, b, "same", note="=1+1", author="-Eva")
        verdict_export.write_dataset(client, directory=tmp_path / "set")
        text = (tmp_path / "set" / "verdicts.csv").read_text(encoding="utf-8-sig")
        (row,) = csv.DictReader(io.StringIO(text))
        assert (row["note"], row["author"]) == ("'=1+1", "'-Eva")

    def test_contradictions_become_a_composite_group(self, fake, client, tmp_path):
        a, b, c, *_ = fake.story()
        client.judge(a, b, "same")
        client.judge(b, c, "same")
        client.judge(a, c, "different")
        assert verdict_export.write_dataset(client, directory=tmp_path / "set").composite == 1
        listing = read_listing([tmp_path / "set"])
        ids = [entry.image_id for entry in listing.entries]
        (group,) = listing.groups
        pairs = {frozenset((ids[one], ids[two])) for one, two in group.links}
        assert pairs == {frozenset(("sphere/1", "illu/7")), frozenset(("illu/7", "woche/2"))}

    def test_clusters_are_learnt_from_too_but_not_against_a_verdict(self, fake, client, tmp_path):
        a, b, *_ = fake.story()
        found = list(members(client))
        client.judge(a, b, "different")
        summary = verdict_export.write_dataset(client, directory=tmp_path / "set", clusters=found)
        assert (summary.images, summary.groups) == (7, 3)
        listing = read_listing([tmp_path / "set"])
        assert sorted(len(group.members) for group in listing.groups) == [2, 2, 3]

    def test_a_link_that_an_archivist_doubts_is_not_learnt_from(self, fake, client, tmp_path):
        *_, first, second = fake.story()
        found = list(members(client))
        client.judge(first, second, "unsure")
        summary = verdict_export.write_dataset(client, directory=tmp_path / "set", clusters=found)
        assert (summary.images, summary.groups) == (5, 1)

    def test_an_overruled_verdict_is_kept_but_not_learnt_from(self, fake, client, tmp_path):
        a, b, c, *_ = fake.story()
        client.judge(a, b, "same")
        client.judge(b, c, "same")
        fake.verdicts[0].overruled = True
        assert verdict_export.write_dataset(client, directory=tmp_path / "set").images == 2
        text = (tmp_path / "set" / "verdicts.csv").read_text(encoding="utf-8-sig")
        assert [row["overruled"] for row in csv.DictReader(io.StringIO(text))] == ["0", "1"]

    def test_pictures_that_are_gone_are_named(self, fake, client, tmp_path):
        a, b, c, *_ = fake.story()
        client.judge(a, b, "same")
        client.judge(b, c, "same")
        del fake.records[b]
        found = verdict_export.write_dataset(client, directory=tmp_path / "set")
        assert found.missing == (b,)
        assert found.images == 2

    def test_pictures_that_the_archive_does_not_show_are_not_exported(self, fake, client, tmp_path):
        a, b, c, *_ = fake.story()
        client.judge(a, b, "same")
        client.judge(b, c, "same")
        fake.records[b].show = search_pb2.Image.NONE
        fake.records[c].show = search_pb2.Image.THUMBNAIL
        found = verdict_export.write_dataset(client, directory=tmp_path / "set")
        assert (found.hidden, found.missing, found.images) == ((b,), (), 2)
        text = (tmp_path / "set" / "manifest.csv").read_text(encoding="utf-8-sig")
        assert [row["show"] for row in csv.DictReader(io.StringIO(text))] == ["full", "thumbnail"]
        assert len(list((tmp_path / "set" / "images").iterdir())) == 2

    def test_nothing_is_overwritten_and_nothing_half_written(self, fake, client, tmp_path):
        with pytest.raises(errors.FailedPrecondition, match="halftone judge"):
            verdict_export.write_dataset(client, directory=tmp_path / "set")
        a, b, *_ = fake.story()
        client.judge(a, b, Decision.SAME)
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "mine").touch()
        with pytest.raises(errors.InvalidArgument, match="not empty"):
            verdict_export.write_dataset(client, directory=tmp_path / "set")
        fake.faults["GetThumbnail"].append(_full)
        with pytest.raises(errors.StorageFull):
            verdict_export.write_dataset(client, directory=tmp_path / "new")
        assert [path.name for path in tmp_path.iterdir()] == ["set"]


def _full():
    raise errors.StorageFull("No room.")
