"""`halftone compare` against a real gRPC server that keeps its records in memory."""

from __future__ import annotations

import json

from click.testing import CliRunner
from PIL import Image

from halftone.cli import compare
from halftone.cli.app import main
from halftone.client import Client
from halftone.v1 import search_pb2
from tests.support.client.fake_clusters import FakeClusters
from tests.support.client.fake_search import verdict

NAME = "archives/a/images/one"


def part(first, second):
    """A box (left, top, width, height) in both pictures."""
    polygons = [
        [
            search_pb2.Point(x=x, y=y)
            for x, y in (
                (left, top),
                (left + width, top),
                (left + width, top + height),
                (left, top + height),
            )
        ]
        for left, top, width, height in (first, second)
    ]
    return search_pb2.OverlapPart(query_polygon=polygons[0], image_polygon=polygons[1])


def facts(said):
    return [" ".join(line.split()) for line in said.splitlines()]


def test_prints_what_they_share(run):
    said = run("compare", NAME, NAME + "2").stdout
    assert "0.987" in said
    assert "42 inliers" in said
    found = json.loads(run("compare", "one", "one2", "--archive", "a", "--json").stdout)
    assert found["relation"] == "crop_of"
    assert found["image"]["name"] == NAME + "2"
    assert found["query"]["name"] == NAME


def test_says_why_a_cluster_has_another_probability(tmp_path):
    with FakeClusters() as fake:
        first, mirror, *_ = fake.story()
        words = ["compare", first, mirror, "--server", fake.address]
        for probability, told in ((0.95, 1), (0.9871, 0)):
            fake.link(first, mirror, probability=probability)
            result = CliRunner().invoke(main, words)
            assert result.exit_code == 0, result.output
            assert result.stdout.count("in cluster   0.950: there descriptors and hashes") == told
        fake.link(first, mirror, probability=0.95)
        cropped = CliRunner().invoke(main, [*words, "--crop", "0,0,50,50"]).stdout
        assert "0.987" in cropped
        assert "in cluster" not in cropped


def test_names_both_and_says_where_they_agree(run):
    lines = [
        " ".join(line.split()) for line in run("compare", NAME, NAME + "2").stdout.splitlines()
    ]
    assert lines == [
        "first The Sphere, 1914-08, page 3",
        "A ship",
        NAME,
        "second L'Illustration, 1915",
        NAME + "2",
        "probability 0.987",
        "relation crop of: the first is a part of the second",
        "shared 42 inliers, details that lie alike in both",
        "in first 100%, the part 0,0,100,80 (x,y,w,h) of 100 x 80 pixels",
        "in second 25%, the part 0,0,50,40 (x,y,w,h) of 100 x 80 pixels",
        "lies turned -1.5°, 0.50 times as large in the second",
        "likeness similarity 0.900, PDQ 40 of 256 bits apart, words 0.250",
    ]
    cropped = run("compare", NAME, NAME + "2", "--crop", "10,20,90,60").stdout
    # The service's part is larger than the crop, beyond which no part is said to reach.
    assert "100% of the crop, the part 10,20,90,60 (x,y,w,h)" in cropped


def test_lists_what_differs_with_its_place_in_both(run, fake):
    places = [
        ((20, 10, 30, 40), (10, 5, 15, 20), 0.12, 0.97),
        ((90, 70, 30, 40), (45, 35, 15, 20), 0.004, 0.85),
    ]
    fake.overlap = {
        "agreeing_share": 0.88,
        "contradicting_share": 0.1,
        "differences": [
            search_pb2.Difference(part=part(first, second), share=share, certainty=certainty)
            for first, second, share, certainty in places
        ],
    }
    lines = facts(run("compare", NAME, NAME + "2").stdout)
    assert lines[
        lines.index("agrees 88% of what has detail in both, 10% of the whole contradicts") :
    ][1:-1] == [
        "differs 1 nearly certain, 12% of the shared part",
        "in first the part 20,10,30,40 (x,y,w,h) of 100 x 80 pixels",
        "in second the part 10,5,15,20 (x,y,w,h) of 100 x 80 pixels",
        "differs 2 likely, <1% of the shared part",
        # No box reaches beyond its picture.
        "in first the part 90,70,10,10 (x,y,w,h) of 100 x 80 pixels",
        "in second the part 45,35,15,20 (x,y,w,h) of 100 x 80 pixels",
    ]
    cropped = facts(run("compare", NAME, NAME + "2", "--crop", "30,20,60,60").stdout)
    assert "in first the part 50,30,30,40 (x,y,w,h) of 100 x 80 pixels" in cropped
    found = json.loads(run("compare", NAME, NAME + "2", "--json").stdout)
    (overlap,) = found["verification"]["overlaps"]
    assert overlap["agreeing_share"] == 0.88
    assert [each["share"] for each in overlap["differences"]] == [0.12, 0.004]
    assert overlap["differences"][0]["part"]["image_polygon"][0] == [10, 5]


def test_says_what_different_pictures_share_and_where(run, fake, tmp_path):
    fake.relation, fake.likely = search_pb2.Hit.SHARED_ELEMENTS, 0.02
    fake.overlap = {
        "parts": [
            part((0, 0, 100, 8), (0, 0, 100, 8)),
            part((0, 72, 100, 8), (0, 70, 100, 8)),
        ]
    }
    result = run("compare", NAME, NAME + "2", "--html", "pair.html", "--out", "o.png")
    said = " ".join(result.stdout.split())
    assert "shared elements: different pictures that have a frame, type, a base map or the" in said
    assert "2 parts, 42 inliers, details that lie alike in both" in said
    boxes = "the parts 1: 0,0,100,8; 2: 0,72,100,8 (x,y,w,h) of 100 x 80 pixels"
    assert f"in first 20%, {boxes}" in said
    assert f"in second 20%, {boxes.replace('72', '70')}" in said
    page = (tmp_path / "pair.html").read_text()
    assert "Different pictures" in page
    assert "Earliest known printing" not in page
    with Image.open(tmp_path / "o.png") as drawn:
        assert drawn.width == 3 * 480 + 2 * 20 + 48


def test_little_in_common_is_not_called_nothing(run, fake):
    fake.relation, fake.likely = search_pb2.Hit.UNRELATED, 0.01
    fake.overlap = {"differences": [search_pb2.Difference(part=part((0, 0, 9, 9), (0, 0, 9, 9)))]}
    lines = facts(run("compare", NAME, NAME + "2").stdout)
    assert "relation unrelated: too little in common to mean anything" in lines
    assert not any(line.startswith("differs") for line in lines)


def test_a_page_with_a_light_table(run, fake, tmp_path):
    result = run("compare", NAME, NAME + "2", "--html", "pair.html")
    assert result.exit_code == 0, result.output
    assert "Wrote pair.html." in result.stderr
    page = (tmp_path / "pair.html").read_text()
    assert "the same picture with a probability of 0.987" in page
    assert 'id="light-table"' in page
    assert "42 matching details" in page
    assert run("compare", NAME, NAME + "2", "--html", "p", "--crop", "0,0,9,9").exit_code == 2


def test_says_what_an_archivist_said_of_them(run, fake, tmp_path):
    assert json.loads(run("compare", NAME, NAME + "2", "--json").stdout)["verdict"] is None
    fake.verdicts = [verdict(NAME, NAME + "2", note="another day")]
    said = "different, by Eva on 1914-08-01 (verdicts/7): another day"
    lines = run("compare", NAME + "2", NAME, "--html", "pair.html", "--out", "o.jpg").stdout
    assert ["archivist", *said.split()] in [line.split() for line in lines.splitlines()]
    page = (tmp_path / "pair.html").read_text()
    assert "with a probability of 0.987; an archivist says: different" in page
    found = json.loads(run("compare", NAME, NAME + "2", "--json").stdout)
    assert (found["verdict"]["decision"], found["verdicts_unavailable"]) == ("different", False)
    with Image.open(tmp_path / "o.jpg") as drawn:
        height = drawn.height
    fake.verdicts, fake.verdicts_unavailable = [], True
    result = run("compare", NAME + "2", NAME, "--out", "o.jpg")
    assert "What archivists said of these pairs could not be read." in result.stderr
    with Image.open(tmp_path / "o.jpg") as drawn:
        assert drawn.height < height


def test_no_page_of_two_that_share_nothing(run, fake, tmp_path):
    fake.shares = False
    result = run("compare", NAME, NAME + "2", "--html", "pair.html")
    assert result.exit_code == 1
    assert NAME + "2" in result.stdout
    assert "not compared: the time was over" in result.stdout
    assert "no part is known that both show" in result.stderr
    assert not (tmp_path / "pair.html").exists()


def test_draws_them(run, fake, tmp_path):
    for name, crop in (("o.jpg", []), ("o.png", ["--crop", "pct:0,0,50,100"])):
        result = run("compare", NAME, NAME + "2", "--out", tmp_path / name, *crop)
        assert result.exit_code == 0, result.output
        with Image.open(tmp_path / name) as drawn:
            assert drawn.height > 300
    sent = [each.query_region for each in fake.requests if hasattr(each, "query_region")]
    assert [(each.width, each.height) for each in sent] == [(0, 0), (50, 80)]


def test_a_drawing_speaks_of_two_pictures_and_no_query(fake):
    with Client(fake.address) as client:
        hit = client.compare(NAME, NAME + "2").hit
    shares = "100% of the first, 25% of the second"
    assert compare.list_lines(hit) == [f"42 inliers; {shares}; scale 0.50; turned -1.5°"]
    assert "100% of the crop, 25% of the second" in compare.list_lines(hit, cropped=True)[0]


def test_a_picture_of_another_kind_is_refused(run, tmp_path):
    result = run("compare", NAME, NAME + "2", "--out", tmp_path / "o.txt")
    assert result.exit_code == 2
    assert "--out" in result.stderr
