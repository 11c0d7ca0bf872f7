"""Tables on narrow terminals: what the next command needs is never cut or broken."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from halftone.cli import cluster_tables, hits, tables, verdicts
from halftone.cli.tables import Column, Layout
from halftone.client import Cluster, Decision, Hit, ImageRecord, Relation, Verdict

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
