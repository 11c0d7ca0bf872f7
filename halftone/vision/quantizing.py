"""Makes and loads a version's backbone in int8 for CPUs, kept beside the versions.

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
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from halftone.core import errors, files
from halftone.core.extras import make_install_command
from halftone.registry import golden
from halftone.registry.manifest import MANIFEST
from halftone.registry.version import INT8
from halftone.vision.inference import fuse
from halftone.vision.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from halftone.registry.version import ModelVersion
    from halftone.vision.network import DescriptorNetwork

FORMAT: Final = 1
_FACTS: Final = "int8.json"
_NETWORK: Final = "backbone.xml"
_WEIGHTS: Final = "backbone.bin"
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
_BATCH: Final = 16


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
    model = Model.load(version.directory)
    network = _quantize_backbone(model.network, pictures=pictures[~aside])
    target = place(version)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".staging-") as staging:
        folder = Path(staging) / "int8"
        folder.mkdir()
        _library().save_model(network, folder / _NETWORK)
        kept = pictures[aside]
        expected = _embed(model, kept)
        _write_golden(folder, pictures=kept, descriptors=expected)
        _replace_backbone(model, network=network, streams=1, threads=os.cpu_count() or 1)
        cosines = (_embed(model, kept) * expected).sum(axis=1)
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
            "openvino": _library().__version__,
            "files": {name: files.sha256(folder / name) for name in (_NETWORK, _WEIGHTS)},
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


def load(version: ModelVersion, *, streams: int, threads: int) -> Model:
    """Load a version's model whose backbone runs in int8.

    Args:
        version: A version that has an int8 form.
        streams: The number of batches that run at a time.
        threads: The number of threads of all streams together.

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
            f"{FORMAT}.",
            reason="MODEL_FORMAT",
        )
    for name in (_NETWORK, _WEIGHTS):
        if not (folder / name).is_file() or files.sha256(folder / name) != facts["files"].get(name):
            raise errors.DataLoss(f"{folder / name} is damaged.", reason="MODEL_DAMAGED")
    model = Model.load(version.directory)
    try:
        network = _library().Core().read_model(folder / _NETWORK)
        _replace_backbone(model, network=network, streams=streams, threads=threads)
    except RuntimeError as error:
        # The files are whole, so they were written by another release of OpenVINO.
        raise errors.FailedPrecondition(
            f"The int8 form of {version.id} cannot be used here; make it anew: {error}",
            reason="MODEL_FORMAT",
        ) from error
    model.check_golden(folder)
    return model


def _embed(model: Model, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = [model.embed(pictures[row : row + _BATCH]) for row in range(0, len(pictures), _BATCH)]
    return np.concatenate(parts)


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


# OpenVINO


def _library() -> Any:
    # Both libraries report their use to an analytics service unless that module is missing. `None`
    # in its place makes importing it fail.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise _make_missing_error(error) from error
    return openvino


def _make_missing_error(error: ImportError) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Running a model in int8 needs more packages ({error}): "
        f"{make_install_command('openvino')}",
        reason="NOT_INSTALLED",
    )


class _Backbone(nn.Module):
    """The part of the network that is exported: from normalised pictures to the pooled stages."""

    def __init__(self, network: DescriptorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.backbone(x))


def _quantize_backbone(network: DescriptorNetwork, *, pictures: NDArray[np.uint8]) -> Any:
    """Return the backbone as an OpenVINO network in int8."""
    openvino = _library()
    try:
        import nncf  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise _make_missing_error(error) from error
    nncf.set_log_level(logging.ERROR)
    fused = fuse(network, dtype=torch.float32)
    with torch.inference_mode():
        inputs = fused.normalise(torch.as_tensor(pictures).unsqueeze(1)).contiguous().numpy()
    shape = inputs.shape[1:]
    with warnings.catch_warnings():
        # Its converter traces, although torch prefers other ways.
        warnings.simplefilter("ignore")
        exported = openvino.convert_model(
            _Backbone(fused),
            example_input=torch.zeros(1, *shape),
            input=[openvino.PartialShape([-1, *shape])],
        )
        return nncf.quantize(
            exported,
            nncf.Dataset([row[None] for row in inputs]),
            # Activations are symmetric: the lowest cosine of press pictures was 0.993, and 0.989
            # with asymmetric ones.
            preset=nncf.QuantizationPreset.PERFORMANCE,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(inputs),
        )


def _replace_backbone(model: Model, *, network: Any, streams: int, threads: int) -> None:
    # Layers that stay in floating point stay in float32: bfloat16 would gain next to nothing.
    compiled = (
        _library()
        .Core()
        .compile_model(
            network,
            "CPU",
            {
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
    )
    model.network.replace_backbone(_run(compiled))


def _run(compiled: Any) -> Callable[[Tensor], list[Tensor]]:
    def run(x: Tensor) -> list[Tensor]:
        # Each call makes a request, because calls come from several threads. Making one costs
        # microseconds.
        results = compiled.create_infer_request().infer(x.contiguous().numpy())
        return [torch.from_numpy(np.array(results[port])) for port in compiled.outputs]

    return run
