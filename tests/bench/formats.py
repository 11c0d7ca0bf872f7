"""Files of many formats and faults, and large pages: `python -m tests.bench.formats`.

    python -m tests.bench.formats [--pages] [--megapixels 300] [--only WORD]

Without `--pages`, every file of `tests.support.pictures.file_corpus` is decoded in the processes of
a pool, as the embedder does it (twice the side of its network, grey) and as the import does it; a
table says what came of each. With `--pages`, pages of so many megapixels are decoded the same way,
and the table shows the seconds and the peak memory of the process. The bar: 2 GB.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from halftone.core import errors
from halftone.imaging.pool.pool import Pool
from halftone.imaging.pool.worker import Limits
from tests.support.pictures.file_cases import deepen
from tests.support.pictures.file_corpus import make_corpus
from tests.support.pictures.image_corpus import png
from tests.support.pictures.pool_tasks import decode_and_measure
from tests.support.pictures.scenes import scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.pictures.file_cases import Case

SIDES = {"embedder": 256, "import": 768}
BAR_GB = 2.0


def make_pool() -> Pool:
    """Return a pool of one process, as services start it."""
    pool = Pool(
        limits=Limits(memory_bytes=384 << 20, seconds=3.0),
        workers=1,
        modules=(decode_and_measure.__module__,),
    )
    pool.start()
    return pool


def judge(case: Case, pool: Pool) -> str:
    """Return what came of a file, beginning with `ok` if that is right."""
    content, told = case.make(), []
    for name, side in SIDES.items():
        try:
            image, _, _ = pool.run(decode_and_measure, content, side=side, luminance=True)
        except errors.ImageRejected as error:
            right = error.reason in case.reasons and case.says in error.message
            told.append(f"{'ok' if right else 'WRONG'}: {error.message}")
        except errors.HalftoneError as error:
            told.append(f"WRONG: {name}: {error.message}")
        else:
            told.append(_compare(image, case))
    return max(told, key=lambda text: text.startswith("WRONG"))


def _compare(image: Image.Image, case: Case) -> str:
    if case.pixels is None:
        return "WRONG: it was read"
    expected = Image.fromarray(np.rint(case.pixels).astype(np.uint8)).convert("L")
    pair = [
        np.asarray(each.resize((12, 9), Image.Resampling.BOX), dtype=int)
        for each in (image, expected)
    ]
    worst = int(np.abs(pair[0] - pair[1]).max())
    return f"{'ok' if worst <= 12 else 'WRONG'}: read, at most {worst} grey levels apart"


def show_corpus(only: str) -> int:
    """Print the table of all files; return the number of wrong ones."""
    pool, counts = make_pool(), Counter[str]()
    try:
        for case in make_corpus():
            if only in case.name:
                outcome = judge(case, pool)
                counts[outcome.split(":")[0]] += 1
                print(f"{case.name:62} {outcome}", flush=True)
    finally:
        pool.close()
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    return counts["WRONG"]


def make_pages(megapixels: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield pages of so many megapixels by their format."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    size = (width, round(megapixels * 1e6 / width))

    def draw(mode: str) -> Image.Image:
        grey = scene(1, size=(1200, 900)).resize(size, Image.Resampling.NEAREST)
        return grey if mode == "L" else grey.convert(mode)

    def make(mode: str, kind: str, **options: object) -> Callable[[], bytes]:
        def write() -> bytes:
            stream = io.BytesIO()
            draw(mode).save(stream, kind, **options)
            return stream.getvalue()

        return write

    def widen() -> np.ndarray:
        return deepen(np.asarray(draw("RGB")), 12)

    yield "JPEG, colours", make("RGB", "JPEG", quality=80)
    yield "JPEG, progressive, grey", make("L", "JPEG", quality=80, progressive=True)
    yield "JPEG, progressive, colours", make("RGB", "JPEG", quality=80, progressive=True)
    yield "PNG, grey", make("L", "PNG", compress_level=1)
    yield "PNG, colours", make("RGB", "PNG", compress_level=1)
    yield "PNG, transparent", make("RGBA", "PNG", compress_level=1)
    yield "TIFF, one bit, group 4", make("1", "TIFF", compression="group4")
    yield "TIFF, grey, LZW", make("L", "TIFF", compression="tiff_lzw")
    yield "TIFF, colours, deflate", make("RGB", "TIFF", compression="tiff_adobe_deflate")
    yield "TIFF, 16 bits, deflate", make("I;16", "TIFF", compression="tiff_adobe_deflate")
    yield "PNG, dark 16 bits, colours", lambda: png(widen(), depth=16, colour_type=2)
    yield (
        "JPEG 2000, colours, tiles",
        make("RGB", "JPEG2000", tile_size=(1024, 1024), irreversible=True, quality_layers=[20]),
    )
    yield "JPEG 2000, grey, one tile", make("L", "JPEG2000", irreversible=True, quality_layers=[20])


def show_pages(megapixels: int, only: str) -> int:
    """Print the table of large pages; return the number above the bar."""
    above = 0
    for name, make in make_pages(megapixels):
        if only not in name:
            continue
        content = make()
        for what, side, luminance in (
            ("embedder", SIDES["embedder"], True),
            ("import", SIDES["import"], True),
            ("thumbnail", 512, False),
            ("in full", None, True),
        ):
            pool, started = make_pool(), time.monotonic()
            try:
                _, size, peak = pool.run(
                    decode_and_measure, content, side=side, luminance=luminance
                )
            except errors.HalftoneError as error:
                told = error.message
            else:
                above += peak > BAR_GB * 1e9
                told = f"{peak / 1e9:5.2f} GB, decoded as {size[0]} x {size[1]}"
            finally:
                pool.close()
            taken = time.monotonic() - started
            print(f"{name:30} {len(content) / 1e6:6.1f} MB {what:10} {taken:6.1f} s  {told}")
            sys.stdout.flush()
    return above


def main() -> int:
    """Read the command line and run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.formats")
    parser.add_argument("--pages", action="store_true", help="large pages instead of the corpus")
    parser.add_argument("--megapixels", type=int, default=300)
    parser.add_argument("--only", default="", help="those with this in their name")
    given = parser.parse_args()
    if given.pages:
        return min(1, show_pages(given.megapixels, given.only))
    return min(1, show_corpus(given.only))


if __name__ == "__main__":
    sys.exit(main())
