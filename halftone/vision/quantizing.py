"""Makes and loads a version's network in int8 for CPUs, kept beside the versions. Needs no torch.

A model version is immutable, so its int8 form is not part of it: it lies below the same directory,
under the hash of the version's manifest, and can be made anew at any time. Only the backbone's
convolutions are quantized. Contrast, pooling, projection, whitening and background stay in float32,
because whitening magnifies weak directions, and every rounding with them.

OpenVINO and NNCF are imported when they are needed. Neither may report its use to anybody.
"""

from __future__ import annotations

import base64
import io
import logging
import re
import shutil
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from PIL import Image

from halftone.core import errors, extras, files
from halftone.registry import golden
from halftone.registry.manifest import MANIFEST
from halftone.registry.version import INT8
from halftone.vision import graph
from halftone.vision.portable import (
    PortableModel,
    compile_network,
    import_openvino,
    load_openvino,
    write_model,
)
from halftone.vision.spec import ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from halftone.registry.version import ModelVersion

FORMAT: Final = 2
_FACTS: Final = "int8.json"
_NETWORK: Final = "network.xml"
_NUMBERS: Final = "network.bin"
# Every fifth picture is kept aside to measure with.
_KEPT_ASIDE: Final = 5
_FEWEST: Final = 50
# The agreement that the form must reach when it is made, for 99 of 100 pictures that it was not
# calibrated with.
_COSINE: Final = 0.99
# The agreement that it must reach each time it is loaded, on a few of these pictures; another
# processor rounds differently.
_GOLDEN_COSINE: Final = 0.98
_GOLDEN_COUNT: Final = 8


class Agreement(NamedTuple):
    """The likeness of int8 and float32 descriptors of held-out pictures, as cosines."""

    mean: float
    hundredth: float
    lowest: float


def place(version: ModelVersion) -> Path:
    """Return the directory of a version's int8 form, whether it exists or not."""
    key = files.sha256(version.directory / MANIFEST)
    return version.directory.parent.parent / INT8 / key


def quantize(version: ModelVersion, *, pictures: NDArray[np.uint8], data: str) -> Agreement:
    """Make a version's int8 form and publish it. It replaces an existing one.

    Args:
        version: A version whose hashes were verified.
        pictures: uint8 [N, S, S], prepared with the version's preprocessing.
        data: A description of the pictures, for the record.

    Raises:
        errors.FailedPrecondition: OpenVINO or NNCF is not installed, or the int8 form does not
            agree with the version well enough; nothing was published.
        errors.InvalidArgument: There are too few pictures.
    """
    if len(pictures) < _FEWEST:
        raise errors.InvalidArgument(
            f"Quantizing needs at least {_FEWEST} usable pictures; {data} has {len(pictures)}.",
            field="data",
        )
    aside = np.arange(len(pictures)) % _KEPT_ASIDE == 0
    _openvino()
    model = PortableModel.load(version.directory, runtime="openvino")
    network = _quantize(version.directory, pictures=pictures[~aside])
    target = place(version)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".staging-") as staging:
        folder = Path(staging) / "int8"
        folder.mkdir()
        _openvino().save_model(network, folder / _NETWORK, compress_to_fp16=False)
        kept = pictures[aside]
        expected = model.embed_all(kept)
        _write_golden(folder, pictures=kept, descriptors=expected)
        cosines = (_open(folder, spec=model.spec).embed_all(kept) * expected).sum(axis=1)
        agreement = Agreement(
            mean=float(cosines.mean()),
            hundredth=float(np.percentile(cosines, 1)),
            lowest=float(cosines.min()),
        )
        if not agreement.hundredth >= _COSINE:
            raise errors.FailedPrecondition(
                f"In int8, {version.id} gives descriptors whose cosine to its own is "
                f"{agreement.hundredth:.4f} or lower for one picture in a hundred; {_COSINE} is "
                "required. Other or more pictures may help.",
                reason="INT8_DISAGREES",
                subject=version.id,
            )
        facts = {
            "format": FORMAT,
            "model_version": version.id,
            "calibration": {"data": data, "images": int((~aside).sum())},
            "agreement": {"images": int(aside.sum()), **agreement._asdict()},
            "openvino": _openvino().__version__,
            "files": {name: files.sha256(folder / name) for name in (_NETWORK, _NUMBERS)},
        }
        files.replace_file(folder / _FACTS, files.to_json(facts))
        files.sync_tree(folder)
        # A directory with files cannot be replaced by renaming, so the old one is moved out of the
        # way.
        if target.exists():
            target.rename(Path(staging) / "old")
        folder.rename(target)
        files.sync_directory(target.parent)
        shutil.rmtree(Path(staging) / "old", ignore_errors=True)
    return agreement


def load(version: ModelVersion, *, threads: int = 0, streams: int = 1) -> PortableModel:
    """Load a version's int8 form.

    Args:
        version: A version that has an int8 form.
        threads: The threads of all calls together; 0 means one per core.
        streams: The number of calls that run at a time, each with its share of the threads.

    Raises:
        errors.NotFound: The version has no int8 form.
        errors.DataLoss: The files of the int8 form are damaged or do not belong to the version.
        errors.FailedPrecondition: OpenVINO is not installed, or another release made the int8 form.
    """
    folder = place(version)
    try:
        facts = files.read_object(folder / _FACTS)
    except FileNotFoundError as error:
        raise errors.NotFound(
            f"{version.id} has no int8 form; `halftone models quantize` makes one.",
            resource_type="int8 form",
            resource_name=version.id,
        ) from error
    if facts.get("format") != FORMAT:
        raise errors.FailedPrecondition(
            f"The int8 form of {version.id} has format {facts.get('format')!r}; this release reads "
            f"{FORMAT}. `halftone models quantize` makes it anew.",
            reason="MODEL_FORMAT",
        )
    for name in (_NETWORK, _NUMBERS):
        if not (folder / name).is_file() or files.sha256(folder / name) != facts["files"].get(name):
            raise errors.DataLoss(f"{folder / name} is damaged.", reason="MODEL_DAMAGED")
    try:
        model = _open(
            folder, spec=ModelSpec.read(version.directory), threads=threads, streams=streams
        )
    except errors.Internal as error:
        # The files are whole, so they were written by another release of OpenVINO.
        raise errors.FailedPrecondition(
            f"The int8 form of {version.id} cannot be used here; make it anew: {error}",
            reason="MODEL_FORMAT",
        ) from error
    model.check_golden(folder)
    return model


def _open(folder: Path, *, spec: ModelSpec, threads: int = 0, streams: int = 1) -> PortableModel:
    network = compile_network(
        folder / _NETWORK, threads=threads, streams=streams, runtime="openvino"
    )
    return PortableModel(spec, network=network)


def _write_golden(
    folder: Path, *, pictures: NDArray[np.uint8], descriptors: NDArray[np.float32]
) -> None:
    entries = []
    for row in np.linspace(0, len(pictures) - 1, _GOLDEN_COUNT).astype(int):
        buffer = io.BytesIO()
        # The pictures have the network's own size, so preparing them again changes nothing.
        Image.fromarray(pictures[row]).save(buffer, format="PNG")
        entries.append(
            {
                "png_base64": base64.b64encode(buffer.getvalue()).decode("ascii"),
                "descriptor": [round(float(value), 6) for value in descriptors[row]],
            }
        )
    values = {"min_cosine": _GOLDEN_COSINE, "images": entries}
    files.replace_file(folder / golden.GOLDEN, files.to_json(values))


# ---- OpenVINO


def _openvino() -> Any:
    try:
        return import_openvino()
    except ImportError as error:
        raise errors.FailedPrecondition(
            f"The int8 form needs OpenVINO ({error}): {extras.make_install_command('int8')}. There "
            "is none for some systems, such as Linux on ARM.",
            reason="NOT_INSTALLED",
        ) from error


def _quantize(directory: Path, *, pictures: NDArray[np.uint8]) -> Any:
    """Return a version's network as an OpenVINO model whose backbone computes in int8.

    NNCF makes cores of its own; see `load_openvino` for what they do to the thread that uses them.
    So it runs in a thread that ends with it.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="quantize") as pool:
        return pool.submit(_quantize_here, directory, pictures=pictures).result()


def _quantize_here(directory: Path, *, pictures: NDArray[np.uint8]) -> Any:
    try:
        import nncf  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise errors.FailedPrecondition(
            f"Making an int8 form needs more packages ({error}): "
            f"{extras.make_install_command('int8')}",
            reason="NOT_INSTALLED",
        ) from error
    nncf.set_log_level(logging.ERROR)
    _, model = write_model(directory)
    with warnings.catch_warnings():
        # NNCF leans on parts of NumPy and of itself that are on their way out.
        warnings.simplefilter("ignore")
        return nncf.quantize(
            load_openvino().read_model(model),
            nncf.Dataset([picture[None, None] for picture in pictures]),
            # Activations are symmetric: the lowest cosine of press pictures was 0.993, and 0.989
            # with asymmetric ones.
            preset=nncf.QuantizationPreset.PERFORMANCE,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(
                patterns=[f"^(?!{re.escape(graph.BACKBONE)}).*"], validate=False
            ),
        )
