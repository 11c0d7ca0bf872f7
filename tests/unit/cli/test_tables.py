"""Tables on narrow terminals: what the next command needs is never cut or broken."""

from __future__ import annotations

import datetime as dt
import io
import json
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from halftone.cli import cluster_tables, hits, output, tables, verdicts
from halftone.cli.tables import Column, Layout
from halftone.client import (
    Cluster,
    ClusterMember,
    Decision,
    Hit,
    ImageRecord,
    Relation,
    Verdict,
)
from halftone.rendering import timelines

RECORDS = (
    ImageRecord(
        name="archives/album/images/1914/0822-3-a-rather-long-identifier-of-an-image",
        journal="The Larkhaven Courier and Advertiser of the Northern Counties",
        date="1914-08-22",
        page="3",
        caption="The fleet leaves the harbour in the morning, seen from the lighthouse",
    ),
    ImageRecord(
        name="archives/Архив/images/выпуск-12/страница/0001 и ещё одна",
        journal="Иллюстрированный вѣстникъ общества любителей россійской словесности",
        date="1898~",
        caption="Капитанъ Скоттъ на ледникѣ Бирдмора",
    ),
    ImageRecord(
        name="archives/東京/images/北京/0001",
        journal="東洋画報・東京日日新聞附録グラフィック特別号・明治四十五年",
        date="191X",
    ),
    ImageRecord(name="archives/a/images/b"),
)
WIDTHS = (40, 60, 80, 120, 180, 300)


def draw(width, *layouts):
    out = io.StringIO()
    tables.print_table(Console(file=out, width=width), *layouts)
    return out.getvalue()


def fits(text, *, width, beyond):
    """Whether no line is broader than the terminal, but for words that must stay whole."""
    return all(
        cell_len(line.rstrip()) <= width or any(name in line for name in beyond)
        for line in text.splitlines()
    )


@pytest.mark.parametrize("width", WIDTHS)
class TestWhatIsPrinted:
    """Rows of real archives: long journals, Cyrillic, wide characters, nothing at all."""

    def test_hits(self, width):
        found = [
            Hit(image=record, similarity=0.5, probability=0.987, relation=Relation.SAME_SCENE)
            for record in RECORDS
        ]
        text = draw(width, *hits.lay_out_hits(list(enumerate(found, start=1)), truth=None))
        for record in RECORDS:
            assert record.name in text
            assert record.date in text
        assert text.count("0.987") == text.count("same scene") == len(found)
        assert fits(text, width=width, beyond=[record.name for record in RECORDS])

    def test_records(self, width):
        text = draw(width, *hits.lay_out_records(RECORDS))
        assert all(record.name in text for record in RECORDS)
        assert fits(text, width=width, beyond=[record.name for record in RECORDS])

    def test_clusters(self, width):
        shown = [
            Cluster(name=f"clusters/{'abcdefghij'}{at}", size=12, journal_count=3, first_image=one)
            for at, one in enumerate(RECORDS)
        ]
        text = draw(width, *cluster_tables.lay_out_clusters(shown))
        assert all(cluster.id in text for cluster in shown)
        assert "weakest" in text
        assert "earliest known printing" in text
        assert fits(text, width=width, beyond=())

    def test_verdicts(self, width):
        said = Verdict(
            name="verdicts/12",
            a=RECORDS[0].name,
            b=RECORDS[1].name,
            decision=Decision.DIFFERENT,
            author="Ада Лавлейс",
            note="A crack that one of the two printings has and the other one has not",
            overruled=True,
        )
        text = draw(width, verdicts.lay_out_verdicts([said], history=True))
        for part in ("12", said.a, said.b, "different (overruled)", said.author):
            assert part in text
        assert set(said.note.split()) <= set(text.split())
        assert fits(text, width=width, beyond=[said.a, said.b])


ODD = ImageRecord(
    name="archives/a/images/b",
    journal="The\nSphere\x1b]0;owned\x07",
    date="1914",
    page="3\r\n4",
    caption="A\tfleet\r\n\r\nleaves \x1b[31mthe\x9b2J harbour",
)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["hits", "records", "clusters", "timeline", "verdicts"])
def test_no_line_break_and_no_command_of_an_archive_reaches_the_terminal(width, kind):
    hit = Hit(image=ODD, similarity=0.5, probability=0.9, relation=Relation.REPRINT)
    members = (ClusterMember(image=ODD, weakest_link=0.9, link_count=1),)
    cluster = Cluster(name="clusters/c", size=2, journal_count=1, first_image=ODD, members=members)
    said = Verdict(
        name="verdicts/1",
        a="a",
        b="b",
        decision=Decision.SAME,
        author=ODD.journal,
        note=ODD.caption,
    )
    layouts = {
        "hits": hits.lay_out_hits([(1, hit)], truth=None),
        "records": hits.lay_out_records([ODD]),
        "clusters": cluster_tables.lay_out_clusters([cluster]),
        "timeline": cluster_tables.lay_out_timeline(timelines.list_printings(cluster)),
        "verdicts": [verdicts.lay_out_verdicts([said], history=False)],
    }
    text = draw(width, *layouts[kind])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    words = " ".join(text.split())
    assert "The Sphere␛]0;owned␇" in words or width < 100
    if kind in {"hits", "records"} and width > 150:
        row = next(line for line in text.splitlines() if ODD.name in line)
        assert "3 4" in row
        assert "A fleet leaves ␛[31mthe\ufffd2J harbour" in row


def test_facts_tell_the_terminal_nothing():
    out = io.StringIO()
    tables.print_facts(Console(file=out, width=60), [("a\x1b", "two\r\nlines\x1b[2J")])
    assert out.getvalue().splitlines() == ["a␛  two", "    lines␛[2J"]


def test_no_other_text_tells_the_terminal_anything(capsys, run):
    output.make_console().print("\x1b[2J", style="bold")
    output.remark("a\x9bb")
    output.print_json({"x": "\x1b\x9b"})
    said = capsys.readouterr()
    assert "␛[2J" in said.out
    assert said.err == "a\ufffdb\n"
    assert json.loads(said.out.partition("{")[1] + said.out.partition("{")[2]) == {"x": "\x1b\x9b"}
    assert "\x9b" not in said.out
    result = run("search", "\x1b[2J.jpg")
    assert result.exit_code == 2
    assert "␛[2J.jpg is neither a file" in result.stderr


def test_clusters_of_one_year_name_it_once():
    days = {"earliest_date": dt.date(1914, 1, 2), "latest_date": dt.date(1914, 11, 2)}
    one = Cluster(name="clusters/c", size=2, journal_count=1, first_image=ODD, **days)
    shown = draw(300, *cluster_tables.lay_out_clusters([one])).splitlines()[1]
    assert shown.split()[:4] == ["c", "2", "1", "1914"]


class TestLayouts:
    def test_the_first_that_fits_is_taken(self):
        broad = Layout(columns=[Column(title="a"), Column(title="b")], rows=[["x" * 20, "y" * 20]])
        narrow = Layout(columns=[Column(title="only")], rows=[["z" * 20]])
        assert "only" not in draw(44, broad, narrow)
        assert "only" in draw(43, broad, narrow)

    def test_if_none_fits_a_row_takes_several_lines(self):
        layout = Layout(
            columns=[
                Column(title="id"),
                Column(title="figure", right=True),
                Column(title="other"),
                Column(title="text", wraps=True),
            ],
            rows=[
                ["long-identifier", "1", "x", "some words that are wrapped between the words"],
                ["id", "1,234", "yy", ""],
            ],
        )
        assert draw(29, layout).splitlines() == [
            " id               figure",
            "      other",
            "      text",
            " long-identifier       1",
            "      x",
            "      some words that are",
            "      wrapped between the",
            "      words",
            " id                1,234",
            "      yy",
        ]

    def test_a_text_that_nobody_types_may_be_cut(self):
        layout = Layout(columns=[Column(title="caption", most=10)], rows=[["a long caption"]])
        assert draw(80, layout).splitlines()[1].strip() == "a long ca…"
        assert draw(8, layout).splitlines()[1].strip() == "a long…"


def test_facts_break_no_word_and_keep_columns():
    out = io.StringIO()
    sha256 = "6ccb7d112c7532d842bd86891a79e2e733b55bf8dd31023657d03f65fa1088c0"
    facts = [("name", "a/b"), ("last lines", "step 1  loss\nthe end of it all came"), ("x", "")]
    tables.print_facts(Console(file=out, width=30), [*facts, ("content_sha256", sha256)])
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "name            a/b",
        "last lines      step 1  loss",
        "                the end of it",
        "                all came",
        "x",
        f"content_sha256  {sha256}",
    ]
