"""What the readers make of habits that no profile of `tests.support.pages` has."""

from __future__ import annotations

import json

import pytest

from halftone.archive.pages import Kind, alto, iiif, markup, mets, page_xml
from halftone.archive.pages.model import Box, Unit


@pytest.fixture
def parse(tmp_path):
    """Reads a text of XML."""

    def parse_text(text):
        path = tmp_path / "x.xml"
        path.write_text(text, encoding="utf-8")
        return markup.read(path)

    return parse_text


def make_alto(blocks, *, page='WIDTH="800" HEIGHT="1200"', unit="pixel", tags=""):
    return (
        f"<alto><Description><MeasurementUnit>{unit}</MeasurementUnit></Description>{tags}<Layout>"
        f'<Page ID="P" {page}><PrintSpace>{blocks}</PrintSpace></Page></Layout></alto>'
    )


def place(x, y, width, height):
    return f'HPOS="{x}" VPOS="{y}" WIDTH="{width}" HEIGHT="{height}"'


def test_a_divided_word_is_whole_in_its_first_line(parse):
    words = (
        f'<TextBlock ID="t" language="fr" {place(0, 0, 9, 9)}><TextLine {place(0, 0, 9, 4)}>'
        '<String CONTENT="jour" SUBS_TYPE="HypPart1" SUBS_CONTENT="journal" WC="0.5"/>'
        f'<HYP CONTENT="-"/></TextLine><TextLine {place(0, 5, 9, 4)}>'
        '<String CONTENT="nal" SUBS_TYPE="HypPart2" SUBS_CONTENT="journal" WC="1"/>'
        '<String CONTENT="du soir" WC="0.9"/></TextLine></TextBlock>'
    )
    (page,) = alto.parse(parse(make_alto(words)))
    (block,) = page.blocks
    assert block.text == "journal\ndu soir"
    assert block.confidence == pytest.approx(0.7)
    assert block.lines == (Box(0, 0, 9, 4), Box(0, 5, 9, 4))
    assert page.language == "fr"


def test_pictures_of_a_composed_block_are_its_own(parse):
    blocks = (
        f'<ComposedBlock ID="C" TYPE="Illustration" {place(0, 0, 100, 100)}>'
        f'<Illustration ID="I1" {place(0, 0, 40, 40)}/>'
        f'<Illustration ID="I2" {place(50, 0, 40, 40)}/>'
        f'<TextBlock ID="T" {place(0, 90, 90, 9)}><TextLine {place(0, 90, 90, 9)}>'
        '<String CONTENT="Two ships"/></TextLine></TextBlock></ComposedBlock>'
    )
    (page,) = alto.parse(parse(make_alto(blocks)))
    pictures = [block for block in page.blocks if block.kind is Kind.PICTURE]
    assert [(block.id, block.text) for block in pictures] == [
        ("I1", "Two ships"),
        ("I2", "Two ships"),
    ]
    assert [block.kind for block in page.blocks][2:] == [Kind.CAPTION]


def test_rules_frames_and_containers_are_no_pictures(parse):
    blocks = (
        f'<GraphicalElement ID="G" {place(0, 0, 9, 1)}/>'
        f'<ComposedBlock ID="S" TYPE="separatorsBox" {place(0, 0, 9, 9)}>'
        f'<GraphicalElement ID="G2" {place(0, 0, 9, 1)}/></ComposedBlock>'
        f'<Illustration ID="B" TYPE="barcode" {place(0, 0, 9, 9)}/>'
    )
    (page,) = alto.parse(parse(make_alto(blocks)))
    assert {block.kind for block in page.blocks} == {Kind.OTHER}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ('<Shape><Polygon POINTS="10 20 30 20 30 60"/></Shape>', Box(10, 20, 20, 40)),
        ('<Shape><Polygon POINTS="10,20 30,20 30,60"/></Shape>', Box(10, 20, 20, 40)),
        ("", None),
    ],
)
def test_a_block_without_numbers_has_those_of_its_shape(shape, expected, parse):
    (page,) = alto.parse(parse(make_alto(f'<Illustration ID="I">{shape}</Illustration>')))
    assert [block.box for block in page.blocks] == ([expected] if expected else [])


@pytest.mark.parametrize("page", ["", 'WIDTH="0" HEIGHT="0"', 'WIDTH="x" HEIGHT="9"'])
def test_a_page_without_a_size(page, parse):
    assert alto.parse(parse(make_alto("", page=page)))[0].size is None


def test_units(parse):
    named = {"pixel": Unit.PIXEL, "mm10": Unit.MM10, "inch1200": Unit.INCH1200, "MM10": Unit.MM10}
    for name, unit in {**named, "furlong": Unit.PIXEL}.items():
        assert alto.parse(parse(make_alto("", unit=name)))[0].unit is unit


def test_several_pages_in_a_file(parse):
    text = '<alto><Layout><Page ID="1" PRINTED_IMG_NR="7"/><Page ID="2"/></Layout></alto>'
    assert [page.number for page in alto.parse(parse(text))] == ["7", ""]


def test_boxes_that_only_mets_has(parse):
    root = parse(
        '<mets LABEL="A paper, 1900-01-02"><fileSec><file ID="F" MIMETYPE="image/jpeg">'
        '<FLocat href="a.jpg"/></file></fileSec><structMap>'
        '<div TYPE="page" ORDER="3"><fptr FILEID="F"/><div TYPE="image" LABEL="A ship">'
        '<fptr><area FILEID="F" SHAPE="RECT" COORDS="10,20,40,60"/>'
        "</fptr></div></div></structMap></mets>"
    )
    document = mets.parse(root)
    assert (document.description.title, document.description.date) == ("A paper", "1900-01-02")
    (block,) = document.boxes["F"]
    assert (block.box, block.text, block.kind) == (Box(10, 20, 30, 40), "A ship", Kind.PICTURE)


def test_a_page_type_is_no_kind_of_block(parse):
    root = parse(
        '<mets><fileSec><file ID="F"><FLocat href="a.xml"/></file></fileSec>'
        '<structMap TYPE="PHYSICAL"><div TYPE="ILLUSTRATION_PAGE" ORDER="1"><fptr>'
        '<area FILEID="F" BEGIN="P1"/></fptr></div>'
        "</structMap></mets>"
    )
    document = mets.parse(root)
    assert (document.marks, len(document.pages)) == ({}, 1)


def test_a_title_that_only_the_host_has_and_dublin_core(parse):
    root = parse(
        '<mets><dmdSec ID="D"><mods><titleInfo><partNumber>3</partNumber></titleInfo>'
        '<relatedItem type="host"><titleInfo><title>Die Zeit</title></titleInfo></relatedItem>'
        '<originInfo><dateIssued point="start">1914-08</dateIssued><dateIssued point="end">1914-09'
        '</dateIssued></originInfo></mods></dmdSec><structMap><div TYPE="issue" DMDID="D"/>'
        "</structMap></mets>"
    )
    known = mets.parse(root).description
    assert (known.title, known.date) == ("Die Zeit", "1914-08/1914-09")
    root = parse(
        '<mets><dmdSec ID="D"><dc><title>The Globe</title><date>22 August 1914</date>'
        '<language>eng</language></dc></dmdSec><structMap><div TYPE="issue" DMDID="D"/></structMap>'
        "</mets>"
    )
    known = mets.parse(root).description
    assert (known.title, known.date, known.language) == ("The Globe", "1914-08-22", "en")


def test_a_date_that_cannot_be_read_is_kept_as_it_is(parse):
    root = parse(
        '<mets><dmdSec ID="D"><mods><titleInfo><title>T</title></titleInfo><originInfo>'
        "<dateIssued>3/4/1914</dateIssued></originInfo></mods></dmdSec></mets>"
    )
    known = mets.parse(root).description
    assert (known.date, known.date_text) == ("", "3/4/1914")


def test_the_best_of_several_readings_of_page_xml(parse):
    root = parse(
        '<PcGts><Page imageWidth="9" imageHeight="9"><TextRegion id="r"><Coords points="0,0 5,5"/>'
        '<TextEquiv index="1"><Unicode>worse</Unicode></TextEquiv>'
        '<TextEquiv index="0"><Unicode>better</Unicode></TextEquiv></TextRegion></Page></PcGts>'
    )
    assert page_xml.parse(root)[0].blocks[0].text == "better"


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {"type": "AnnotationPage", "items": "no"},
        {"type": "Annotation", "target": 3},
        {"type": "AnnotationPage", "items": [{"type": "Annotation", "target": {"selector": [1]}}]},
    ],
)
def test_annotations_that_make_no_sense(document):
    assert iiif.parse(document) == []


def test_json_that_is_none_or_nested_too_deeply(tmp_path):
    path = tmp_path / "x.json"
    for text in ("{", "[" * 100_000, json.dumps("x")):
        path.write_text(text)
        assert not iiif.is_annotation(iiif.load(path))


def test_what_manifests_say_of_the_whole():
    second = {"@type": "sc:Manifest", "label": [{"@value": "Die Woche", "@language": "de"}]}
    assert iiif.describe({**second, "license": "http://x/y"}).title == "Die Woche"
    assert iiif.describe({**second, "license": "http://x/y"}).rights == "http://x/y"
    assert iiif.describe({"type": "Manifest", "label": {"none": []}, "navDate": 3}).title == ""
    assert iiif.describe([]).title == iiif.describe({"type": "Canvas", "label": "x"}).title == ""


@pytest.mark.parametrize("side", ["0", "0.1", "-5", "1e300", "nan", ""])
def test_sizes_that_no_page_can_have_are_not_believed(side, parse):
    page = f'WIDTH="{side}" HEIGHT="1200"'
    assert alto.parse(parse(make_alto("", page=page)))[0].size is None
    root = parse(f'<PcGts><Page imageWidth="{side}" imageHeight="9"/></PcGts>')
    assert page_xml.parse(root)[0].size is None
    annotation = {"type": "Annotation", "target": "c#xywh=1,2,3,4"}
    canvas = {"type": "Canvas", "id": "c", "height": 9, "width": side}
    canvas["annotations"] = [{"type": "AnnotationPage", "items": [annotation]}]
    assert iiif.parse({"type": "Manifest", "items": [canvas]})[0].size is None


@pytest.mark.parametrize("fragment", ["1,2,..,4", f"1,2,3,{'9' * 400}", "1,2,3", "-1,2,3,4"])
def test_fragments_that_are_none(fragment):
    annotation = {"type": "Annotation", "target": f"c#xywh={fragment}"}
    assert iiif.parse({"type": "AnnotationPage", "items": [annotation]}) == []
