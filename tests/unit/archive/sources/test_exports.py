"""Exports of other programs: Omeka S, Tropy, BagIt, IIIF and Chronicling America."""

from __future__ import annotations

import hashlib
import json

import pytest

from halftone.archive.data_sets import read_listing
from halftone.archive.mapping import parse_map
from halftone.archive.sources import Options, find_kind, open_source
from halftone.archive.sources.iiif import list_canvases
from halftone.core import errors


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "export"
    (folder / "files").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        (folder / "files" / name).write_bytes(name.encode())
    return folder


def save(folder, name, value):
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return folder / name


def images(path, **options):
    rows = list(open_source(path, archive="press", options=Options(**options)).rows)
    assert [row.error for row in rows] == [None] * len(rows)
    return [row.image for row in rows], [row.path.name for row in rows]


def labels(image):
    return {key: list(image.labels[key].values) for key in image.labels}


OMEKA_CSV = (
    "o:id,dcterms:title,dcterms:isPartOf,dcterms:date,dcterms:subject,o:media/o:original_url\n"
    "7,Départ,Le Temps,1914-08,war|peace,https://omeka.example/files/original/a.jpg\n"
    "8,Retour,Le Temps,,peace,https://omeka.example/x/gone.jpg|https://omeka.example/b.jpg\n"
)


def test_a_table_of_omeka(folder):
    path = save(folder, "export.csv", OMEKA_CSV)
    assert find_kind(path).name == "omeka"
    (first, second), files = images(path)
    assert files == ["a.jpg", "b.jpg"]
    assert (first.name, first.caption) == ("archives/press/images/7", "Départ")
    assert (first.journal, first.date, second.date) == ("Le Temps", "1914-08", "")
    assert labels(first) == {"dcterms:subject": ["war", "peace"]}
    (first, _), _ = images(path, columns=parse_map(["caption=dcterms:subject"]))
    assert first.caption == "war"


def medium(number, name):
    return {
        "@context": "https://omeka.example/api-context",
        "@type": "o:Media",
        "o:id": number,
        "o:item": {"@id": "https://omeka.example/api/items/1", "o:id": 1},
        "o:original_url": f"https://omeka.example/files/original/{name}",
        "dcterms:title": [{"type": "literal", "@value": f"view {number}"}],
    }


ITEM = {
    "@context": "https://omeka.example/api-context",
    "@type": ["o:Item", "dctype:Image"],
    "o:id": 1,
    "dcterms:isPartOf": [{"type": "literal", "@value": "Le Temps"}],
    "dcterms:date": [{"type": "literal", "@value": "1914"}],
    "dcterms:subject": [{"@value": "war"}, {"@id": "https://d-nb.info/1", "o:label": "x"}],
    "dcterms:title": [{"@value": "the item"}],
}


@pytest.mark.parametrize("embedded", [True, False])
def test_json_of_omeka(folder, embedded):
    media = [medium(11, "a.jpg"), medium(12, "b.jpg")]
    resources = [{**ITEM, "o:media": media}] if embedded else [ITEM, *media]
    save(folder, "items.json", resources)
    assert find_kind(folder).name == "omeka"
    (first, second), files = images(folder)
    assert files == ["a.jpg", "b.jpg"]
    assert [first.caption, second.caption] == ["view 11", "view 12"]
    assert (first.journal, first.date) == ("Le Temps", "1914")
    assert labels(first)["subject"] == ["war", "https://d-nb.info/1"]


def test_items_without_their_media_are_refused(folder):
    save(folder, "items.json", [ITEM])
    with pytest.raises(errors.InvalidArgument, match="Export the media"):
        open_source(folder, archive="press")


TROPY = {
    "@context": {"@version": 1.1, "@vocab": "https://tropy.org/v1/tropy#", "title": "dc:title"},
    "@graph": [
        {
            "@type": "Item",
            "title": "Départ",
            "date": "1914-08",
            "publicationTitle": "Le Temps",
            "box": "12",
            "tag": ["war", "peace"],
            "photo": [
                {
                    "@type": "Photo",
                    "title": "a",
                    "path": "/Users/x/Pictures/files/a.jpg",
                    "filename": "a.jpg",
                    "checksum": "1" * 32,
                    "width": 10,
                },
                {"@type": "Photo", "title": "verso", "path": "C:\\scans\\b.jpg", "date": "1915"},
            ],
        }
    ],
    "version": "1.17",
}


def test_an_export_of_tropy(folder):
    path = save(folder, "project.json", TROPY)
    assert find_kind(path).name == find_kind(folder).name == "tropy"
    (first, second), files = images(path)
    assert files == ["a.jpg", "b.jpg"]
    assert (first.caption, first.journal, first.date) == ("Départ", "Le Temps", "1914-08")
    assert (second.caption, second.date) == ("verso", "1915")
    assert labels(first) == {"box": ["12"], "tag": ["war", "peace"]}
    listing = read_listing([folder], group_column="box")
    assert [len(group.members) for group in listing.groups] == [2]


def make_bag(folder, *, sums=None):
    bag = folder.parent / "bag"
    data = bag / "data"
    data.mkdir(parents=True)
    (data / "a.jpg").write_bytes(b"a")
    (data / "b.jpg").write_bytes(b"b")
    (data / "manifest.csv").write_text("image_id,file\n1,a.jpg\n2,b.jpg\n")
    (bag / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    lines = []
    for path in sorted(data.iterdir()):
        digest = (sums or {}).get(path.name) or hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{digest}  data/{path.name}")
    (bag / "manifest-sha256.txt").write_text("\n".join(lines) + "\n")
    return bag


def test_a_bag(folder):
    bag = make_bag(folder)
    assert find_kind(bag).name == "bagit"
    assert images(bag)[1] == ["a.jpg", "b.jpg"]
    with (bag / "manifest-sha256.txt").open("a") as file:
        file.write(f"{'0' * 64}  data/gone.jpg\n")
    assert "1 files are missing: data/gone.jpg" in open_source(bag, archive="p").remarks[0]


def test_a_picture_that_is_not_the_bags_is_rejected(folder):
    bag = make_bag(folder, sums={"b.jpg": "0" * 64})
    first, second = open_source(bag, archive="p").rows
    assert first.error is None
    assert second.error.reason == "CHECKSUM"
    (bag / "data" / "manifest.csv").write_text("image_id,file\n1,a.jpg\n")
    with pytest.raises(errors.InvalidArgument, match="sha256 checksum"):
        open_source(bag, archive="p")
    (bag / "manifest-sha256.txt").unlink()
    with pytest.raises(errors.InvalidArgument, match="without a payload manifest"):
        open_source(bag, archive="p")


def manifest_3(*names):
    return {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "id": "https://iiif.example/m1/manifest",
        "type": "Manifest",
        "label": {"fr": ["Le Temps, 1914"]},
        "rights": "https://creativecommons.org/publicdomain/mark/1.0/",
        "metadata": [
            {"label": {"en": ["Date"]}, "value": {"none": ["1914-08-22"]}},
            {"label": {"fr": ["Titre"]}, "value": {"fr": ["<b>Le Temps</b>"]}},
            {"label": {"en": ["Shelf"]}, "value": {"en": ["12"]}},
        ],
        "items": [
            {
                "id": f"https://iiif.example/m1/canvas/{number}",
                "type": "Canvas",
                "label": {"none": [f"p. {number}"]},
                "items": [
                    {
                        "type": "AnnotationPage",
                        "items": [
                            {
                                "type": "Annotation",
                                "motivation": "painting",
                                "body": {
                                    "id": f"https://iiif.example/image/files%2F{name}",
                                    "type": "Image",
                                },
                            }
                        ],
                    }
                ],
            }
            for number, name in enumerate(names, start=1)
        ],
    }


def manifest_2(*names):
    return {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "@id": "https://iiif.example/m1/manifest",
        "@type": "sc:Manifest",
        "label": "Le Temps",
        "metadata": [{"label": [{"@value": "Datum", "@language": "de"}], "value": "22.08.1914"}],
        "sequences": [
            {
                "canvases": [
                    {
                        "@id": f"https://iiif.example/m1/canvas/{number}",
                        "@type": "sc:Canvas",
                        "label": f"p. {number}",
                        "images": [{"resource": {"@id": f"https://iiif.example/x/{name}"}}],
                    }
                    for number, name in enumerate(names, start=1)
                ]
            }
        ],
    }


def test_a_manifest_of_iiif_3(folder):
    save(folder, "manifest.json", manifest_3("a.jpg", "b.jpg"))
    assert find_kind(folder).name == "iiif"
    (first, _), files = images(folder)
    assert files == ["a.jpg", "b.jpg"]
    assert first.name == "archives/press/images/m1/canvas/1"
    assert (first.journal, first.date, first.page) == ("Le Temps", "1914-08-22", "p. 1")
    assert first.rights.endswith("/mark/1.0/")
    assert first.source_uri == "https://iiif.example/m1/manifest"
    assert labels(first) == {"Shelf": ["12"], "manifest": ["Le Temps, 1914"]}


def test_a_collection_of_manifests_of_iiif_2(folder):
    collection = {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "@id": "https://iiif.example/top",
        "@type": "sc:Collection",
        "manifests": [manifest_2("a.jpg", "b.jpg")],
    }
    save(folder, "collection.json", collection)
    (first, second), files = images(folder, loose_dates=True)
    assert (first.date, second.page, files) == ("1914-08-22", "p. 2", ["a.jpg", "b.jpg"])
    collection["manifests"] = [{"@id": "https://iiif.example/m2", "@type": "sc:Manifest"}]
    save(folder, "collection.json", collection)
    with pytest.raises(errors.InvalidArgument, match="halftone fetch"):
        open_source(folder, archive="press")


@pytest.mark.parametrize("odd", ["http://x", 7, True, 1.5, ["x"], [["x"]], {"x": "y"}, [None]])
@pytest.mark.parametrize("make", [manifest_2, manifest_3])
def test_odd_values_anywhere_in_a_manifest_raise_nothing(make, odd):
    def list_places(node, path=()):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*path, key)
            if isinstance(value, dict | list):
                yield from list_places(value, (*path, key))

    for place in list(list_places(make("a.jpg"))):
        document = make("a.jpg")
        node = document
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = odd
        for canvas in list_canvases(document):
            assert all(isinstance(each, str) for each in (canvas.id, *canvas.images))


@pytest.mark.parametrize("make", [manifest_2, manifest_3])
def test_a_manifest_is_not_changed_by_reading(make):
    document = {**make("a.jpg", "b.jpg"), "items": make("a.jpg").get("items", [])}
    document["sequences"] = manifest_2("c.jpg")["sequences"]
    for canvas in [*document["items"], *document["sequences"][0]["canvases"]]:
        canvas["images"] = [{"resource": {"@id": "https://iiif.example/x"}}]
        canvas["items"] = [{"items": [{"body": {"id": "https://iiif.example/y"}}]}]
    before = json.dumps(document)
    first = list(list_canvases(document))
    assert list(list_canvases(document)) == first
    assert json.dumps(document) == before


def test_collections_may_lie_deep_within_one_another():
    document = manifest_3("a.jpg")
    for _ in range(5_000):
        document = {"type": "Collection", "items": [document]}
    assert [canvas.images for canvas in list_canvases(document)] == [
        ("https://iiif.example/image/files%2Fa.jpg",)
    ]


def test_a_text_may_lie_deep():
    document = manifest_3("a.jpg")
    for _ in range(5_000):
        document["label"] = [document["label"]]
    assert len(list(list_canvases(document))) == 1


def test_pages_of_chronicling_america(folder):
    place = folder / "lccn" / "sn83030272" / "1914-08-22" / "ed-1"
    place.mkdir(parents=True)
    for number in (1, 2):
        (place / f"seq-{number}.jp2").write_bytes(b"page")
    address = "https://chroniclingamerica.loc.gov/lccn/sn83030272/1914-08-22/ed-1"
    issue = {
        "date_issued": "1914-08-22",
        "title": {"name": "The sun. [volume]", "url": "https://x"},
        "pages": [{"url": f"{address}/seq-{number}.json", "sequence": number} for number in (1, 2)],
    }
    page = {
        "jp2": f"{address}/seq-2.jp2",
        "sequence": 2,
        "title": {"name": "The sun. [volume]"},
        "issue": {"date_issued": "1914-08-22"},
    }
    save(folder, "issue.json", issue)
    save(folder, "page.json", page)
    assert find_kind(folder).name == "chronicling-america"
    (first, second), files = images(folder)
    assert files == ["seq-1.jp2", "seq-2.jp2"]
    assert first.name == "archives/press/images/sn83030272/1914-08-22/ed-1/seq-1"
    assert (first.journal, first.date, second.page) == ("The sun. [volume]", "1914-08-22", "2")
    (folder / "issue.json").unlink()
    found = {"id": "/lccn/sn83030272/1914-08-22/ed-1/seq-1/", "date": "19140822", "page": "1"}
    save(folder, "page.json", {"totalItems": 1, "items": [{**found, "title": "The sun."}]})
    (only,), _ = images(folder)
    assert (only.journal, only.date) == ("The sun", "1914-08-22")


@pytest.mark.parametrize("value", [[], {}, {"items": 1}, {"@context": 1}, [1], "text", None, "{"])
def test_other_json_is_no_export(folder, value):
    save(folder, "other.json", value if value == "{" else json.dumps(value))
    assert find_kind(folder) is None
    with pytest.raises(errors.InvalidArgument, match="no kind of source"):
        open_source(folder, archive="p", options=Options(kind="nothing"))


def test_what_is_not_in_the_folder_is_told(folder):
    save(folder, "manifest.json", manifest_3("a.jpg", "gone.jpg"))
    _, gone = open_source(folder, archive="p").rows
    assert gone.error.reason == "MISSING_FILE"
    assert "`halftone fetch` brings" in gone.error.message
    (folder / "other").mkdir()
    (folder / "other" / "a.jpg").write_bytes(b"another")
    save(folder, "manifest.json", manifest_2("a.jpg"))
    (row,) = open_source(folder, archive="p", options=Options(loose_dates=True)).rows
    assert "several files" in row.error.message
