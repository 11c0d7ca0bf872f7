"""Make the sample archive: photographs of scikit-image, reprinted in invented journals.

Each photograph is printed by the press simulation in several journals, every time with another
screen, crop and tone, some of them mirrored; other pictures, printed once, are there to be confused
with them. The manifest's column `photograph` says which printings belong together.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import random
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from PIL import Image

from halftone.core import errors
from halftone.core.extras import make_install_command

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPE: Final = 2
"""The version of the recipe. An archive that another version made is made anew."""

PHOTOGRAPH: Final = "photograph"
"""The label that says which photograph a printing shows."""

PRINTINGS: Final = 74
"""The number of printings that `make` makes: those of the archive, and the ones to search by."""

_RIGHTS: Final = "See data/README.txt of scikit-image"
_JPEG_QUALITY: Final = 82


@dataclass(frozen=True, kw_only=True)
class Journal:
    """An invented journal."""

    name: str
    language: str
    first_year: int
    monthly: bool


JOURNALS: Final = (
    Journal(name="The Larkhaven Courier", language="en", first_year=1968, monthly=False),
    Journal(name="Gazette de Montclaire", language="fr", first_year=1971, monthly=False),
    Journal(name="Neustedter Rundschau", language="de", first_year=1974, monthly=False),
    Journal(name="El Faro de Valdemar", language="es", first_year=1970, monthly=True),
    Journal(name="L'Eco di Montalba", language="it", first_year=1976, monthly=True),
    Journal(name="Oosterveense Bode", language="nl", first_year=1973, monthly=False),
)


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A photograph of scikit-image and its captions by language."""

    key: str
    file: str
    captions: dict[str, str]


def _captions(en: str, fr: str, de: str, es: str, it: str, nl: str) -> dict[str, str]:
    return {"en": en, "fr": fr, "de": de, "es": es, "it": it, "nl": nl}


PHOTOGRAPHS: Final = (
    Photograph(
        key="astronaut",
        file="astronaut.png",
        captions=_captions(
            "The astronaut before her flight",
            "L'astronaute avant son vol",
            "Die Astronautin vor ihrem Flug",
            "La astronauta antes de su vuelo",
            "L'astronauta prima del volo",
            "De astronaute voor haar vlucht",
        ),
    ),
    Photograph(
        key="photographer",
        file="camera.png",
        captions=_captions(
            "Our photographer at work",
            "Notre photographe au travail",
            "Unser Fotograf bei der Arbeit",
            "Nuestro fotógrafo trabajando",
            "Il nostro fotografo al lavoro",
            "Onze fotograaf aan het werk",
        ),
    ),
    Photograph(
        key="cat",
        file="chelsea.png",
        captions=_captions(
            "First prize at the cat show",
            "Premier prix de l'exposition féline",
            "Erster Preis der Katzenschau",
            "Primer premio de la exposición felina",
            "Primo premio alla mostra felina",
            "Eerste prijs op de kattenshow",
        ),
    ),
    Photograph(
        key="coffee",
        file="coffee.png",
        captions=_captions(
            "The price of a cup goes up again",
            "Le prix du café augmente encore",
            "Der Kaffee wird wieder teurer",
            "El café vuelve a subir",
            "Il caffè rincara ancora",
            "De koffie wordt weer duurder",
        ),
    ),
    Photograph(
        key="coins",
        file="coins.png",
        captions=_captions(
            "Coins from the harbour find",
            "Monnaies du trésor du port",
            "Münzen aus dem Hafenfund",
            "Monedas del hallazgo del puerto",
            "Monete dal ritrovamento del porto",
            "Munten uit de havenvondst",
        ),
    ),
    Photograph(
        key="moon",
        file="moon.png",
        captions=_captions(
            "The Moon, seen from the probe",
            "La Lune vue par la sonde",
            "Der Mond, von der Sonde gesehen",
            "La Luna vista desde la sonda",
            "La Luna vista dalla sonda",
            "De maan, gezien vanaf de sonde",
        ),
    ),
    Photograph(
        key="rocket",
        file="rocket.jpg",
        captions=_captions(
            "Ready for launch at dusk",
            "Prête au lancement au crépuscule",
            "Startbereit in der Dämmerung",
            "Listo para el lanzamiento",
            "Pronto al lancio al crepuscolo",
            "Klaar voor de lancering",
        ),
    ),
    Photograph(
        key="galaxies",
        file="hubble_deep_field.jpg",
        captions=_captions(
            "Farther than ever seen before",
            "Plus loin que jamais",
            "So weit wie nie zuvor gesehen",
            "Más lejos que nunca",
            "Più lontano che mai",
            "Verder dan ooit gezien",
        ),
    ),
    Photograph(
        key="motorcycle",
        file="motorcycle_left.png",
        captions=_captions(
            "Out of the garage in spring",
            "Sortie du garage au printemps",
            "Im Frühling aus der Garage",
            "En primavera, fuera del garaje",
            "In primavera fuori dal garage",
            "In de lente uit de garage",
        ),
    ),
    Photograph(
        key="retina",
        file="retina.jpg",
        captions=_captions(
            "What the eye doctor sees",
            "Ce que voit l'oculiste",
            "Was der Augenarzt sieht",
            "Lo que ve el oculista",
            "Quello che vede l'oculista",
            "Wat de oogarts ziet",
        ),
    ),
    Photograph(
        key="tissue",
        file="ihc.png",
        captions=_captions(
            "Under the hospital's new microscope",
            "Sous le nouveau microscope",
            "Unter dem neuen Mikroskop",
            "Bajo el nuevo microscopio",
            "Sotto il nuovo microscopio",
            "Onder de nieuwe microscoop",
        ),
    ),
)

# These are printed once each, so that there is something else to find.
_OTHERS: Final = ("cell.png", "clock_motion.png", "horse.png", "page.png", "text.png")
# Each of these gives several pictures that share nothing but their kind.
_TEXTURES: Final = ("brick.png", "grass.png", "gravel.png")


class Press(Protocol):
    """A function that prints a picture, such as `halftone.vision.reprinting.reprint`."""

    def __call__(
        self, image: Image.Image, *, seed: int, caption: str | None, mirror: bool
    ) -> Image.Image:
        """Print the picture with the caption below it; a seed always gives the same printing."""


def make(folder: Path, *, reprint: Press) -> None:
    """Make the archive, or leave it as it is if this recipe made it.

    Args:
        folder: The folder, which gets `manifest.csv`, `images/` and `queries/`.
        reprint: The function that prints a picture.

    Raises:
        errors.FailedPrecondition: scikit-image is not installed.
    """
    stamp = folder / "recipe.json"
    if stamp.exists() and json.loads(stamp.read_text()) == {"recipe": RECIPE}:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("images", "queries"):
        (folder / name).mkdir(parents=True)
    source = _source()
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        columns = ("image_id", "file", "journal", "date", "page", "caption", "language")
        writer = csv.DictWriter(file, fieldnames=(*columns, "rights", PHOTOGRAPH))
        writer.writeheader()
        for row, picture in _printings(source, reprint=reprint):
            _save(picture, path=folder / row["file"])
            writer.writerow({**row, "rights": _RIGHTS})
    for number, photograph in enumerate(PHOTOGRAPHS):
        # A printing that is not in the archive, as somebody might find it and ask about it.
        original = _open_photograph(source / photograph.file)
        found = reprint(original, seed=900_000 + number, caption=None, mirror=False)
        _save(found, path=query_path(folder, photograph.key))
    stamp.write_text(json.dumps({"recipe": RECIPE}))


def query_path(folder: Path, key: str) -> Path:
    """Return the file of a printing to search by, which is not in the archive.

    Args:
        folder: The folder of the archive.
        key: The key of the photograph that it shows.
    """
    return folder / "queries" / f"{key}.jpg"


def _printings(source: Path, *, reprint: Press) -> Iterator[tuple[dict[str, str], Image.Image]]:
    dice = random.Random(1)  # noqa: S311  # the same archive everywhere
    for number, photograph in enumerate(PHOTOGRAPHS):
        original = _open_photograph(source / photograph.file)
        journals = dice.sample(JOURNALS, k=dice.randint(4, 5))
        for copy, journal in enumerate(journals):
            row = _row(journal, dice=dice, serial=number * 10 + copy)
            row["caption"] = photograph.captions[journal.language]
            row[PHOTOGRAPH] = photograph.key
            # Plates were turned over now and then, so that somebody looks into the page.
            turned = copy == len(journals) - 1 and number % 3 == 1
            seed = number * 100 + copy
            # The font of the press has no accents.
            printed = (
                unicodedata.normalize("NFKD", row["caption"]).encode("ascii", "ignore").decode()
            )
            yield row, reprint(original, seed=seed, caption=printed, mirror=turned)
    for serial, (key, original) in enumerate(_others(source), start=500):
        row = _row(dice.choice(JOURNALS), dice=dice, serial=serial)
        row[PHOTOGRAPH] = key
        yield row, reprint(original, seed=serial, caption=None, mirror=False)


def _row(journal: Journal, *, dice: random.Random, serial: int) -> dict[str, str]:
    year = journal.first_year + dice.randrange(18)
    date = f"{year}-{dice.randint(1, 12):02}"
    if not journal.monthly:
        date += f"-{dice.randint(1, 28):02}"
    if dice.random() < 0.1:  # noqa: PLR2004  # some issues lost their title page
        date = f"{year}~"
    code = "".join(word[0] for word in journal.name.replace("'", " ").split()).lower()
    image_id = f"{code}/{serial:04}"
    return {
        "image_id": image_id,
        "file": f"images/{image_id.replace('/', '-')}.jpg",
        "journal": journal.name,
        "date": date,
        "page": str(dice.randint(1, 24)),
        "caption": "",
        "language": journal.language,
    }


def _others(source: Path) -> Iterator[tuple[str, Image.Image]]:
    for file in _OTHERS:
        yield Path(file).stem, _open_photograph(source / file)
    for file in _TEXTURES:
        picture = _open_photograph(source / file)
        width, height = picture.width // 2, picture.height // 2
        for part in range(4):
            left, top = (part % 2) * width, (part // 2) * height
            box = (left, top, left + width, top + height)
            yield f"{Path(file).stem}-{part + 1}", picture.crop(box)


def _source() -> Path:
    # The files are read where the package keeps them: its own loader would try to download those
    # that are no part of the wheel, and importing it costs a second.
    package = importlib.util.find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise errors.FailedPrecondition(
            "The sample archive is made from photographs of scikit-image, which is not installed: "
            f"{make_install_command('demo')}, or show your own with --archive DIR.",
            subject="scikit-image",
        )
    return Path(next(iter(package.submodule_search_locations))) / "data"


def _open_photograph(path: Path) -> Image.Image:
    with Image.open(path) as image:
        if image.mode != "RGBA":
            return image.convert("RGB")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image).convert("RGB")


def _save(picture: Image.Image, *, path: Path) -> None:
    picture.convert("L").save(path, quality=_JPEG_QUALITY)
