"""XML that may come from anyone: read within bounds, never expanded, never fetched."""

from __future__ import annotations

import resource
import sys
import time

import pytest

from halftone.archive.pages import markup
from halftone.core import errors


def refuse(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    begun = time.monotonic()
    with pytest.raises(errors.InvalidArgument) as raised:
        markup.read(path)
    assert time.monotonic() - begun < 20
    return raised.value


BILLION = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))

ATTACKS = {
    "billion laughs": f'<!DOCTYPE a [<!ENTITY l0 "lol">{BILLION}]><alto>&l11;</alto>',
    "in an attribute": f'<!DOCTYPE a [<!ENTITY l0 "lol">{BILLION}]><alto ID="&l11;"/>',
    "quadratic": f'<!DOCTYPE a [<!ENTITY x "{"y" * 100_000}">]><alto>{"&x;" * 10_000}</alto>',
    "file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><alto>&x;</alto>',
    "parameter": '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><alto/>',
    "attributes by default": '<!DOCTYPE a [<!ATTLIST alto x CDATA "y">]><alto/>',
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_declarations_are_refused(attack, tmp_path):
    error = refuse(tmp_path / "x.xml", ATTACKS[attack])
    assert error.reason == markup.FORBIDDEN
    assert "x.xml" in error.message


def test_an_entity_that_nothing_declares(tmp_path):
    assert refuse(tmp_path / "x.xml", "<alto>&x;</alto>").reason == markup.UNREADABLE
    outside = '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><alto>&x;</alto>'
    assert refuse(tmp_path / "x.xml", outside).reason == markup.FORBIDDEN


def test_a_schema_that_is_only_named_is_not_fetched(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text('<!DOCTYPE alto SYSTEM "http://127.0.0.1:9/a.dtd"><alto>text</alto>')
    assert markup.read_text(markup.read(path)) == "text"


def test_a_hundred_megabytes_of_nested_tags(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = refuse(tmp_path / "x.xml", b"<a>" * (100 * 2**20 // 3))
    assert error.reason == markup.TOO_LARGE
    assert "100 elements within each other" in error.message
    # Beside the test's own bytes. macOS counts bytes, Linux kilobytes.
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (300 << 20 if sys.platform == "darwin" else 300 << 10)


def test_too_many_elements(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text("<a>" + '<b c="d"/>' * 5_000 + "</a>")
    assert len(markup.read(path)) == 5_000
    with pytest.raises(errors.InvalidArgument, match="10,000 elements and attributes") as raised:
        markup.read(path, max_nodes=10_000)
    assert raised.value.reason == markup.TOO_LARGE


def test_too_many_attributes(tmp_path):
    many = " ".join(f'a{i}="1"' for i in range(markup.MAX_ATTRIBUTES + 1))
    assert refuse(tmp_path / "x.xml", f"<a {many}/>").reason == markup.TOO_LARGE


def test_a_tag_that_never_ends(tmp_path):
    error = refuse(tmp_path / "x.xml", b'<a b="' + b"x" * (30 * 2**20))
    assert error.reason == markup.TOO_LARGE
    assert "in one tag" in error.message


def test_too_many_bytes(tmp_path):
    part = b"<b>" + b"x" * 2**20 + b"</b>"
    error = refuse(tmp_path / "x.xml", b"<a>" + part * 65 + b"</a>")
    assert (error.reason, "64 MiB" in error.message) == (markup.TOO_LARGE, True)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG", b"<alto>", b"<?xml version='1.0' encoding='nonsense'?><a/>", b"<a></b>"],
)
def test_what_is_no_xml(content, tmp_path):
    assert refuse(tmp_path / "x.xml", content).reason == markup.UNREADABLE
    assert markup.find_root(tmp_path / "x.xml") in {"", "alto", "a"}


def test_a_missing_file(tmp_path):
    with pytest.raises(errors.InvalidArgument, match="cannot be read"):
        markup.read(tmp_path / "x.xml")
    assert markup.find_root(tmp_path / "x.xml") == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings(encoding, tmp_path):
    path = tmp_path / "x.xml"
    name = encoding.removesuffix("-sig")
    path.write_bytes(f"<?xml version='1.0' encoding='{name}'?><a>Müller</a>".encode(encoding))
    assert markup.read_text(markup.read(path)) == "Müller"


def test_names_lose_their_prefixes_declared_or_not(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text('<m:mets xmlns:m="urn:m"><m:file xlink:href="a" m:ID="b"/></m:mets>')
    root = markup.read(path)
    assert (root.tag, root[0].tag, root[0].attrib) == ("mets", "file", {"href": "a", "ID": "b"})
    assert markup.find_root(path) == "mets"


def test_points():
    assert markup.parse_points("1,2 3,4") == markup.parse_points("1 2 3.0 4") == [(1, 2), (3, 4)]
    for text in ("1,2 3", "1,x", "", None):
        assert markup.parse_points(text) == []
    assert markup.parse_number("1e999") is markup.parse_number("nan") is None
