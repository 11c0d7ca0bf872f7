"""Draw boards with men on them: chess, draughts, go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from halftone.evaluation.furniture import words
from halftone.evaluation.furniture.canvas import Box, Canvas, Sheet, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDE: Final = 640
CHANGED: Final = (1.0, 0.75, 0.5, 0.35, 0.22)
"""The share of the men that stand elsewhere on the second board, by strength."""
_KINDS: Final = ("chess", "draughts", "chess", "go")
_LIGHT: Final = "♔♕♖♗♘♙"
_DARK: Final = "♚♛♜♝♞♟"
_ARMY: Final = (0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5)
_FEWEST: Final = 3  # men that are moved

Position = dict[tuple[int, int], int]


@dataclass(frozen=True, kw_only=True)
class _Board:
    """The grid of a board: its first cell, the step of its cells, their number on a side."""

    left: float
    top: float
    step: float
    count: int


def draw(*, aspect: float, strength: int, design: int, generator: np.random.Generator) -> Sheet:
    """Draw an empty board with its border, letters and numbers.

    Args:
        aspect: Does not matter; boards are square.
        strength: Does not matter; see `place_men`.
        design: The number of the design; it decides the game.
        generator: Source of randomness for the details.
    """
    del aspect, strength
    canvas = Canvas(SIDE, SIDE + 40)
    game = _KINDS[design % len(_KINDS)]
    board = _grid(game)
    inside = Box(
        board.left,
        board.top,
        board.left + board.step * board.count,
        board.top + board.step * board.count,
    )
    if game == "go":
        canvas.rectangle(canvas.box.shrink(8), tone=206)
        half = board.step / 2
        for number in range(board.count):
            at = half + number * board.step
            canvas.line(
                [(board.left + half, board.top + at), (inside.right - half, board.top + at)],
                width=1.0,
            )
            canvas.line(
                [(board.left + at, board.top + half), (board.left + at, inside.bottom - half)],
                width=1.0,
            )
        for row in (3, 9, 15):
            for column in (3, 9, 15):
                canvas.circle(_spot(board, (row, column)), 3.4)
    else:
        _squares(canvas, board, style=int(generator.integers(3)))
        for number in range(board.count):
            x, y = board.left + (number + 0.5) * board.step, board.top + (number + 0.5) * board.step
            if design % 3 != 2:  # noqa: PLR2004 - some boards have no letters
                canvas.write(
                    "abcdefgh"[number],
                    x=x,
                    y=inside.bottom + 17,
                    size=15,
                    face="italic",
                    anchor="mm",
                )
                canvas.write(
                    str(8 - number), x=board.left - 15, y=y, size=15, face="roman", anchor="mm"
                )
    canvas.rectangle(inside, width=2.0)
    canvas.rectangle(inside.shrink(-4), width=0.9)
    if design % 2:
        canvas.rectangle(inside.shrink(-27), width=1.4)
    title = f"BLACK ({words.place(generator)})", f"WHITE ({words.place(generator)})"
    canvas.write(title[0], x=SIDE / 2, y=18, size=16, anchor="ms")
    canvas.write(title[1], x=SIDE / 2, y=SIDE + 34, size=16, anchor="ms")
    return Sheet(pixels=canvas.finish(), windows=(Window(box=inside),))


def place_men(sheet: Sheet, *, design: int, strength: int, variant: int, seed: int) -> Canvas:
    """Place men on a board.

    Args:
        sheet: The empty board.
        design: The number of its design, as in `draw`.
        strength: From 1 to 5. It decides how few men stand elsewhere on the second board.
        variant: 0 for the first position, 1 for the second one.
        seed: Determines both positions.
    """
    game = _KINDS[design % len(_KINDS)]
    board = _grid(game)
    position = _position(game, np.random.default_rng(seed))
    if variant:
        position = _change(
            position, game, share=CHANGED[strength - 1], generator=np.random.default_rng([seed, 1])
        )
    canvas = Canvas.over(sheet.pixels)
    for square, man in position.items():
        x, y = _spot(board, square)
        if game == "chess":
            _chessman(canvas, x, y, man=man, step=board.step)
        else:
            dark = man % 2 == 0
            radius = (0.46 if game == "go" else 0.4) * board.step
            canvas.circle((x, y), radius, tone=28 if dark else 248)
            canvas.circle((x, y), radius, width=1.3)
            if game == "draughts":
                canvas.circle((x, y), 0.7 * radius, width=1.1, tone=225 if dark else 28)
                if man >= 2:  # noqa: PLR2004 - a king
                    canvas.circle((x, y), 0.35 * radius, tone=225 if dark else 28)
    return canvas


def _grid(game: str) -> _Board:
    if game == "go":
        return _Board(left=22, top=42, step=(SIDE - 44) / 19, count=19)
    return _Board(left=42, top=62, step=(SIDE - 84) / 8, count=8)


def _spot(board: _Board, square: tuple[int, int]) -> tuple[float, float]:
    row, column = square
    return board.left + (column + 0.5) * board.step, board.top + (row + 0.5) * board.step


def _squares(canvas: Canvas, board: _Board, *, style: int) -> None:
    for row in range(board.count):
        for column in range(board.count):
            if (row + column) % 2:
                x, y = board.left + column * board.step, board.top + row * board.step
                square = Box(x, y, x + board.step, y + board.step)
                if style == 0:
                    canvas.hatch(square, step=4.2, angle=45, width=1.0)
                elif style == 1:
                    canvas.rectangle(square, tone=150)
                else:
                    canvas.rectangle(square, tone=170)
                    canvas.hatch(square, step=3.2, angle=-45, width=0.8, tone=90)


def _chessman(canvas: Canvas, x: float, y: float, *, man: int, step: float) -> None:
    # Printers cut a man free of the square's hatching: a light ground, then the man.
    solid, line = _DARK[man % 6], _LIGHT[man % 6]
    for dx, dy in ((-2, 0), (2, 0), (0, -2), (0, 2)):
        canvas.write(
            solid, x=x + dx, y=y + dy, size=0.92 * step, face="sans", anchor="mm", tone=246
        )
    if man < 6:  # noqa: PLR2004 - white
        canvas.write(solid, x=x, y=y, size=0.92 * step, face="sans", anchor="mm", tone=246)
        canvas.write(line, x=x, y=y, size=0.92 * step, face="sans", anchor="mm")
    else:
        canvas.write(solid, x=x, y=y, size=0.92 * step, face="sans", anchor="mm")


def _squares_of(game: str) -> list[tuple[int, int]]:
    count = 19 if game == "go" else 8
    return [
        (row, column)
        for row in range(count)
        for column in range(count)
        if game != "draughts" or (row + column) % 2
    ]


def _position(game: str, generator: np.random.Generator) -> Position:
    """Draw a position from the middle of a game."""
    squares = _squares_of(game)
    order = [squares[number] for number in generator.permutation(len(squares))]
    if game == "go":
        return dict(zip(order[:110], ([0, 1] * 55), strict=True))
    if game == "draughts":
        men = [0] * 8 + [1] * 8 + [2, 3]
        return dict(zip(order, men, strict=False))
    men = []
    for side in (0, 6):
        lost = int(generator.integers(2, 7))
        kept = [0, *generator.permutation(_ARMY[1:])[lost:].tolist()]
        men += [side + int(man) for man in kept]
    position: Position = {}
    for man in men:
        # White's men stand lower, black's higher, pawns never on the last rows.
        rows = np.arange(8)
        likely = np.exp(-((rows - (5.2 if man < 6 else 1.8)) ** 2) / 5)  # noqa: PLR2004
        if man % 6 == 5:  # noqa: PLR2004
            likely[[0, 7]] = 0
        while True:
            square = int(generator.choice(8, p=likely / likely.sum())), int(generator.integers(8))
            if square not in position:
                position[square] = man
                break
    return position


def _change(
    position: Mapping[tuple[int, int], int],
    game: str,
    *,
    share: float,
    generator: np.random.Generator,
) -> Position:
    """Move a share of the men to empty squares, and take one in three of those off the board."""
    if share >= 1:
        return _position(game, generator)
    standing = list(position)
    chosen = generator.permutation(len(standing))[: max(_FEWEST, round(share * len(standing)))]
    changed = dict(position)
    empty = [square for square in _squares_of(game) if square not in position]
    targets = iter([empty[number] for number in generator.permutation(len(empty))])
    for place, number in enumerate(chosen):
        man = changed.pop(standing[number])
        if place % 3 != 2 or man % 6 == 0:  # noqa: PLR2004 - kings stay
            changed[next(targets)] = man
    return changed
