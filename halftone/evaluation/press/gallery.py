"""Read the press benchmark's pictures, and keep their fingerprints and descriptors.

Decoding, features and hashes of a thousand pictures take about a minute on two cores, so they are
kept in a cache folder under a name that changes with the pictures' bytes, with the code that made
them, and for descriptors with the weights and the preprocessing.
"""

from __future__ import annotations

import hashlib
import importlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import halftone.matching
from halftone.core import errors, files
from halftone.core.settings import read_max_pixels
from halftone.evaluation import labelled
from halftone.imaging import images
from halftone.imaging.opening import SUFFIXES as SUFFIXES
from halftone.imaging.orientations import UPRIGHT
from halftone.matching.features import LocalFeatures
from halftone.matching.fingerprint import Fingerprint, archive_fingerprint
from halftone.matching.words import PACKAGED, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from halftone.vision.descriptor_model import DescriptorModel

# Pictures are decoded with at least this many pixels on the shorter side, if JPEG can skip the
# rest.
TARGET: Final = 768
_THREADS: Final = 2
_BATCH: Final = 64
MAKERS: Final = (
    "halftone.imaging.caps",
    "halftone.imaging.conversion",
    "halftone.imaging.directories",
    "halftone.imaging.formats",
    "halftone.imaging.formats.heif",
    "halftone.imaging.formats.jpeg2000",
    "halftone.imaging.formats.jpeg_ends",
    "halftone.imaging.formats.tiff",
    "halftone.imaging.formats.tiff_pages",
    "halftone.imaging.formats.tiff_parts",
    "halftone.imaging.headers",
    "halftone.imaging.images",
    "halftone.imaging.layout",
    "halftone.imaging.luminance",
    "halftone.imaging.needs",
    "halftone.imaging.opening",
    "halftone.imaging.orientations",
    "halftone.imaging.reasons",
    "halftone.imaging.samples",
    "halftone.imaging.sources",
    "halftone.imaging.strips",
    "halftone.matching.features",
    "halftone.matching.fingerprint",
    "halftone.matching.pdq",
    "halftone.matching.words",
)
"""The modules that make a fingerprint from a file. If one changes, kept fingerprints are stale."""


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """The N pictures of a benchmark.

    Attributes:
        name: The name for people.
        paths: Their files, [N].
        digests: sha-256 of each, [N].
        groups: The group's number of each, [N]; pictures with one number are the same picture, or
            share one.
        sources: Whether each may be printed anew, [N]: only the pictures of the folder itself may,
            not the further distractors.
        left_out: Files that are not among the N, and why.
    """

    name: str
    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    groups: NDArray[np.int64]
    sources: NDArray[np.bool_]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """Return a hash of all pictures, in their order."""
        return hashlib.sha256("\n".join(self.digests).encode()).hexdigest()

    def picture(self, row: int) -> Image.Image:
        """Decode the picture at `row`; mode L, upright."""
        return images.decode(
            self.paths[row].read_bytes(),
            max_pixels=read_max_pixels(),
            target=TARGET,
            luminance=True,
        )


def read_collection(
    folder: Path,
    *,
    distractors: Sequence[Path] = (),
    groups: Path | None = None,
    limit: int | None = None,
) -> PictureSet:
    """Read the pictures of a folder, and further ones that only distract.

    A folder with a manifest and `groups.json` (or `groups`) tells which pictures are the same;
    otherwise only files of equal bytes are known to be.

    Args:
        folder: A folder of pictures; its subfolders are searched, too.
        distractors: Further folders of pictures, for the gallery alone.
        groups: A file of groups, as in `labelled.read_labelled`.
        limit: The most pictures of `folder`, evenly spaced.

    Raises:
        errors.InvalidArgument: There are no pictures, or the groups cannot be used.
    """
    if groups is not None or (folder / labelled.GROUPS).is_file():
        known = labelled.read_labelled(folder, groups=groups)
        paths, numbers = list(known.paths), [int(group) for group in known.truth().groups]
    else:
        paths = _pictures_below(folder)
        numbers = [-1] * len(paths)
    if limit is not None and limit < len(paths):
        kept = np.linspace(0, len(paths) - 1, limit).round().astype(int)
        paths, numbers = [paths[row] for row in kept], [numbers[row] for row in kept]
    count = len(paths)
    for other in distractors:
        more = _pictures_below(other)
        paths += more
        numbers += [-1] * len(more)
    if not count:
        raise errors.InvalidArgument(f"{folder} holds no pictures.", field="press")
    with ThreadPoolExecutor(_THREADS) as pool:
        hashed = list(pool.map(_digest, paths))
    usable = [row for row, (digest, _) in enumerate(hashed) if digest]
    return PictureSet(
        name=folder.resolve().name,
        paths=tuple(paths[row] for row in usable),
        digests=tuple(hashed[row][0] for row in usable),
        groups=_merge_groups([numbers[row] for row in usable], [hashed[row][0] for row in usable]),
        sources=np.array([row < count for row in usable], dtype=bool),
        left_out=tuple(
            (paths[row].name, why) for row, (digest, why) in enumerate(hashed) if not digest
        ),
    )


def fingerprints(
    pictures: PictureSet,
    *,
    cache: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Fingerprint]:
    """Return the archive fingerprint of each picture, [N].

    Args:
        pictures: The N pictures.
        cache: The folder in which fingerprints are kept; created if needed. None keeps none.
        progress: Called with the number of pictures that are done.
    """
    path = _cache_path(cache, kind="fingerprints", of=(pictures.digest, _makers_digest()))
    if path is not None and path.is_file():
        progress(len(pictures.paths))
        return _unpack(path)

    def make(row: int) -> Fingerprint:
        content = pictures.paths[row].read_bytes()
        picture = images.decode(
            content, max_pixels=read_max_pixels(), target=TARGET, luminance=True
        )
        made = archive_fingerprint(picture, full_size=images.size(content))
        # Fingerprints are rounded as they are kept, here and by the search service, so a second run
        # finds the same.
        return replace(made, features=LocalFeatures.from_bytes(made.features.to_bytes()))

    found = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for one in pool.map(make, range(len(pictures.paths))):
            found.append(one)
            progress(1)
    if path is not None:
        _pack(path, found)
    return found


def descriptors(
    model: DescriptorModel,
    *,
    pictures: PictureSet,
    weights: str,
    cache: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float32]:
    """Return the descriptor of each picture: float32 [N, D].

    Args:
        model: The loaded model.
        pictures: The N pictures.
        weights: The hash of the model's weights.
        cache: The folder in which descriptors are kept; created if needed. None keeps none.
        progress: Called with the number of pictures that are done.
    """
    # Versions that differ only in how they prepare pictures have the same weights.
    way = [model.spec.network.to_dict(), model.spec.preprocessing.to_dict()]
    path = _cache_path(cache, kind="descriptors", of=(pictures.digest, weights, repr(way)))
    if path is not None and path.is_file():
        progress(len(pictures.paths))
        with np.load(path, allow_pickle=False) as kept:
            return np.asarray(kept["descriptors"], dtype=np.float32)
    preprocessing, parts = model.spec.preprocessing, []

    def prepare(row: int) -> NDArray[np.uint8]:
        content = pictures.paths[row].read_bytes()
        side = 2 * preprocessing.size
        return preprocessing(
            images.decode(content, max_pixels=read_max_pixels(), target=side, luminance=True)
        )

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(pictures.paths), _BATCH):
            rows = range(start, min(start + _BATCH, len(pictures.paths)))
            parts.append(model.embed(np.stack(list(pool.map(prepare, rows)))))
            progress(len(rows))
    found = np.concatenate(parts)
    if path is not None:
        _save(path, descriptors=found)
    return found


def _pictures_below(folder: Path) -> list[Path]:
    return [path for path in files.files_below(folder) if path.suffix.lower() in SUFFIXES]


def _digest(path: Path) -> tuple[str, str]:
    """Return a picture's sha-256, or "" and why it cannot be used."""
    try:
        content = path.read_bytes()
        images.decode(content, max_pixels=read_max_pixels(), target=TARGET // 4, luminance=True)
    except OSError as error:
        return "", str(error)
    except errors.ImageRejected as error:
        return "", error.message
    return hashlib.sha256(content).hexdigest(), ""


def _merge_groups(numbers: Sequence[int], digests: Sequence[str]) -> NDArray[np.int64]:
    """Return a group's number for each picture; pictures of equal bytes share a group."""
    parent: dict[object, object] = {}

    def root(key: object) -> object:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for number, digest in zip(numbers, digests, strict=True):
        if number >= 0:
            parent[root(digest)] = root(number)
    found: dict[object, int] = {}
    return np.array([found.setdefault(root(digest), len(found)) for digest in digests])


def _makers_digest() -> str:
    """Return a hash of the code and the vocabulary that fingerprints come from."""
    hashed = hashlib.sha256()
    for name in MAKERS:
        hashed.update(Path(str(importlib.import_module(name).__file__)).read_bytes())
    hashed.update(Path(halftone.matching.__path__[0], PACKAGED).read_bytes())
    return hashed.hexdigest()


def _cache_path(cache: Path | None, *, kind: str, of: Sequence[str]) -> Path | None:
    if cache is None:
        return None
    cache.mkdir(parents=True, exist_ok=True)
    return cache / f"{kind}-{hashlib.sha256(' '.join(of).encode()).hexdigest()[:24]}.npz"


def _pack(path: Path, fingerprints: Sequence[Fingerprint]) -> None:
    features = [one.features.to_bytes() for one in fingerprints]
    words = [one.words[False] for one in fingerprints]
    _save(
        path,
        features=np.frombuffer(b"".join(features), dtype=np.uint8),
        feature_ends=np.cumsum([len(one) for one in features]),
        pdq=np.stack([one.pdq[UPRIGHT] for one in fingerprints]),
        indices=np.concatenate([one.indices for one in words]),
        values=np.concatenate([one.values for one in words]),
        word_ends=np.cumsum([len(one.indices) for one in words]),
    )


def _unpack(path: Path) -> list[Fingerprint]:
    with np.load(path, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    blobs = np.split(arrays["features"], arrays["feature_ends"][:-1])
    indices = np.split(arrays["indices"], arrays["word_ends"][:-1])
    values = np.split(arrays["values"], arrays["word_ends"][:-1])
    return [
        Fingerprint(
            pdq={UPRIGHT: bits},
            features=LocalFeatures.from_bytes(blob.tobytes()),
            words={False: Words(indices=index, values=value)},
        )
        for blob, bits, index, value in zip(blobs, arrays["pdq"], indices, values, strict=True)
    ]


def _save(path: Path, **arrays: Any) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.replace_file(path, buffer.getvalue())


def full_size(path: Path) -> tuple[int, int]:
    """Return the width and height of a picture in pixels, from its header."""
    return images.size(path.read_bytes())
