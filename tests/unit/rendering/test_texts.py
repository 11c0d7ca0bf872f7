"""Texts of the archive on one line, and without commands for a terminal."""

from __future__ import annotations

from halftone.rendering import texts


def test_a_text_stands_on_one_line():
    assert texts.flatten(" two\r\nlines\t and\u2028more\x85 \n") == "two lines and more"


def test_what_commands_a_terminal_becomes_visible():
    assert texts.show_controls("\x1b[31mred\x07\x7f\x9b2J") == "␛[31mred␇␡\ufffd2J"
    assert texts.show_controls("a\r\nb\nc\td\re") == "a\nb\nc d␍e"
    assert (
        texts.show_controls("Größe, Правда, 東京, 5\u00a0000") == "Größe, Правда, 東京, 5\u00a0000"
    )
