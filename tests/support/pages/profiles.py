"""One small issue for each habit of describing pages, after public formats and documentation.

Each is a folder of descriptions; `write` adds scans that are drawn from the same numbers. What
has to come of it stands beside it, in pixels of the scans.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from halftone.archive.pages import Block, Box, Kind
from tests.support.pages.rendering import draw_page

_DESCRIPTIONS = Path(__file__).with_name("descriptions")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A picture that has to be found: its region in pixels, its caption and who knew of it."""

    region: tuple[int, int, int, int]
    caption: str = ""
    found_by: str = "alto"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """An issue as one library describes it.

    Attributes:
        name: Its name, and that of the folder of its descriptions.
        scans: The size of each scan.
        pictures: What has to be found, by image id.
        journal: The title of all records.
        date: The date of all records.
        language: The language of all records.
        page: The page of the first record.
    """

    name: str
    scans: dict[str, tuple[int, int]]
    pictures: dict[str, Expected]
    journal: str = ""
    date: str = ""
    language: str = ""
    page: str = "1"

    def write(self, folder: Path) -> Path:
        """Write the descriptions and the scans into a folder."""
        shutil.copytree(_DESCRIPTIONS / self.name, folder, dirs_exist_ok=True)
        for name, size in self.scans.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            stem = name.rpartition(".")[0]
            boxes = [
                Block(kind=Kind.PICTURE, box=Box(*expected.region))
                for image_id, expected in self.pictures.items()
                if image_id.startswith(f"{stem}/")
            ]
            draw_page(path, size=size, blocks=boxes)
        return folder


# The BnF: `Illustration`, captions in text blocks beside it, `ComposedBlock` for advertisements.
BNF = Profile(
    name="bnf",
    journal="Le Journal illustré",
    date="1891-10-10",
    language="fr",
    scans={"images/T0000001.jpg": (800, 1200)},
    pictures={
        "images/T0000001/PAG_1_IL1": Expected(region=(100, 100, 400, 300), caption="La grève"),
        "images/T0000001/PAG_1_IL2": Expected(region=(120, 700, 200, 200)),
    },
    page="[1]",
)

# The BnL: docWorks with tenths of a millimetre, no page size, and the resolution in METS.
BNL = Profile(
    name="bnl",
    journal="Le Luxemburger Wort",
    date="1912-05-04",
    language="de",
    # A derivative of half the size of what was measured.
    scans={"images/0001.png": (500, 750)},
    pictures={"images/0001/CB1": Expected(region=(50, 100, 250, 200), caption="Die Brücke")},
)

# The BL: parts of pages, and what they are called, linked to each other; ALTO has plain blocks.
BL = Profile(
    name="bl",
    journal="Le Northern Echo",
    date="1889-01-02",
    language="en",
    scans={"0002_0001.jpg": (800, 1200)},
    pictures={
        "0002_0001/pa1": Expected(
            region=(100, 100, 400, 300), caption="The new bridge", found_by="mets"
        )
    },
)

# METAe, docWorks: no namespace, only a viewing copy of half the size is there.
METAE = Profile(
    name="metae",
    journal="Le Petit Journal",
    date="1891-10-10~",
    language="fr",
    scans={"Viewing/18911010-0001.jpg": (800, 1200)},
    pictures={
        "Viewing/18911010-0001/P1_CB00001": Expected(region=(100, 100, 400, 300), caption="SUICIDE")
    },
)

# The SBB and other ENMAP issues: blocks in containers, a print space at -1, a box over the edge.
SBB = Profile(
    name="sbb",
    journal="Le Volkszeitung",
    date="1930-01-01",
    language="de",
    scans={"OCRmaster/F_001.tif": (800, 1200)},
    pictures={
        "OCRmaster/F_001/B2": Expected(region=(0, 100, 400, 300)),
        "OCRmaster/F_001/B3": Expected(region=(500, 900, 300, 300)),
    },
)

# NDNP, Chronicling America: words only, in 1200ths of an inch; the title is in METS's label. Its
# scan is drawn by the test that uses it.
NDNP = Profile(
    name="ndnp",
    journal="The evening star (Washington, D.C.)",
    date="1905-01-01",
    page="A1",
    scans={},
    pictures={},
)

# PAGE XML since 2013, as Transkribus and OCR-D write it, and a barcode among the graphics.
PAGE_XML = Profile(
    name="page-xml",
    language="de",
    scans={"0001.jpg": (800, 1200)},
    pictures={
        "0001/r1": Expected(region=(100, 100, 400, 300), caption="Der Dom", found_by="page"),
        "0001/r4": Expected(region=(100, 700, 200, 200), found_by="page"),
    },
)

# PAGE XML of 2010, with points as elements.
OLD_PAGE_XML = Profile(
    name="page-xml-2010",
    scans={"scan.png": (800, 1200)},
    pictures={"scan/d1": Expected(region=(100, 100, 400, 300), found_by="page")},
)

# IIIF Presentation 3: a manifest with annotations, in pixels of its canvas and in percent.
IIIF_3 = Profile(
    name="iiif-3",
    journal="The Graphic",
    date="1914-08-22",
    scans={"page-1.jpg": (800, 1200)},
    pictures={
        "page-1/pic1": Expected(region=(100, 100, 400, 300), caption="The ship", found_by="iiif"),
        "page-1/pic2": Expected(region=(400, 900, 200, 240), found_by="iiif"),
    },
)

# IIIF Presentation 2: an annotation list beside its scan.
IIIF_2 = Profile(
    name="iiif-2",
    scans={"p7.jpg": (800, 1200)},
    pictures={
        "p7/fig": Expected(region=(100, 100, 400, 300), caption="Map of the front", found_by="iiif")
    },
)

# ALTO 4 of eScriptorium and Kraken: zones are tagged text blocks, with outlines.
TAGS = Profile(
    name="alto-4-tags",
    scans={"0001.jpg": (800, 1200)},
    pictures={"0001/g1": Expected(region=(100, 100, 400, 300))},
)

PROFILES = (BNF, BNL, BL, METAE, SBB, PAGE_XML, OLD_PAGE_XML, IIIF_3, IIIF_2, TAGS)
"""The profiles that describe pictures."""
