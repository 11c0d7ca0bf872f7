"""Loads, runs and saves the model of a version: weights, and all that must travel with them.

On disk (the registry adds the manifest, the trainer metrics and report):

    spec.json           `ModelSpec`
    model.safetensors   parameters and running statistics, float16 where that is exact enough
    golden.json         pictures and the descriptors they must get; `Model.check_golden` compares
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Final

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from halftone.core import errors, files
from halftone.registry import golden
from halftone.registry.manifest import SPEC
from halftone.vision.descriptor_model import DescriptorModel
from halftone.vision.initial_weights import load_backbone
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec, pretrained_contrast
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.spec import WEIGHTS, ModelSpec
from halftone.vision.whitening import Whitening, fit_whitening

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


__all__ = ["Model", "Whitening", "fit_whitening", "import_imagenet_weights"]

_GOLDEN_COUNT: Final = 4
_BATCH: Final = 32


class Model(DescriptorModel):
    """A network in evaluation mode on a device, with its spec."""

    def __init__(
        self, spec: ModelSpec, *, network: DescriptorNetwork, device: str | torch.device = "cpu"
    ) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()

    @classmethod
    def load(cls, directory: Path, *, device: str | torch.device = "cpu") -> Model:
        """Read a version's spec and weights. The hashes of the files are not checked here.

        Raises:
            errors.DataLoss: A file is missing, damaged, or does not fit the spec.
            errors.FailedPrecondition: The version is in the format of another release.
        """
        try:
            spec = ModelSpec.read(directory)
            weights = safetensors.torch.load_file(directory / WEIGHTS)
            full = {name: _full(tensor) for name, tensor in weights.items()}
            network = DescriptorNetwork(spec.network, weights=full)
        except (FileNotFoundError, safetensors.SafetensorError, RuntimeError) as error:
            raise errors.DataLoss(
                f"The model in {directory} cannot be loaded: {error}", reason="MODEL_DAMAGED"
            ) from error
        return cls(spec, network=network, device=device)

    def embed(self, batch: NDArray[np.uint8] | torch.Tensor) -> NDArray[np.float32]:
        """Compute the descriptors of preprocessed pictures.

        Args:
            batch: uint8 [N, S, S], luminance from `spec.preprocessing`; a tensor may be on any
                device.

        Returns:
            float32 [N, D], rows of unit length.
        """
        if batch.ndim != len("NSS"):
            raise ValueError(f"a batch must be [N, S, S], not {tuple(batch.shape)}")
        pictures = torch.as_tensor(batch).to(self.device, non_blocking=True).unsqueeze(1)
        half = self.device.type == "cuda"
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=half):
            descriptors: NDArray[np.float32] = self.network(pictures).float().cpu().numpy()
        return descriptors

    def save(self, directory: Path) -> None:
        """Write `spec.json`, `model.safetensors` and `golden.json` into an existing directory.

        The golden descriptors are computed from the stored weights, so every reader of the
        directory must reproduce them.
        """
        stored = {name: _compact(tensor) for name, tensor in self.network.state_dict().items()}
        files.replace_file(directory / WEIGHTS, safetensors.torch.save(stored))
        files.replace_file(directory / SPEC, files.to_json(self.spec.to_dict()))
        stored_model = Model.load(directory)
        inputs = golden_inputs()
        vectors = stored_model.embed_images(_decode_png(text) for text in inputs)
        entries = [
            {"png_base64": text, "descriptor": [round(float(value), 6) for value in vector]}
            for text, vector in zip(inputs, vectors, strict=True)
        ]
        files.replace_file(
            directory / golden.GOLDEN, files.to_json({"min_cosine": 0.99, "images": entries})
        )


def best_device() -> str:
    """Return "cuda" if torch can use a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def golden_inputs() -> list[str]:
    """Return small PNGs (base64) of blocks and ramps, the same in every run."""
    generator = np.random.default_rng(20_260_101)
    texts = []
    for number in range(_GOLDEN_COUNT):
        blocks = generator.integers(0, 256, size=(6 + number, 8 - number), dtype=np.uint8)
        pixels = np.kron(blocks, np.ones((12, 14), dtype=np.uint8))
        ramp = np.linspace(0, 60, pixels.shape[1]).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels // 2 + ramp).save(buffer, format="PNG")
        texts.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    return texts


def import_imagenet_weights(
    path: Path | None,
    *,
    whitening_images: NDArray[np.uint8],
    backbone: str = "resnet152",
    preprocessing: Preprocessing | None = None,
    grid: int = 3,
    dimension: int = 512,
    data: str = "",
) -> Model:
    """Make a model of ImageNet weights: GeM over a grid, then PCA-whitening.

    Args:
        path: A file with the weights, as in `initial_weights.load_backbone`; None takes those of a
            package, or torchvision's.
        whitening_images: uint8 [N, S, S], prepared with `preprocessing`; more than `dimension`.
        backbone: One of `backbones.BACKBONES`.
        preprocessing: The preprocessing of pictures; None takes 224 pixels.
        grid: Cells per side. A grid keeps the layout of a picture, which its reprint shares.
        dimension: Dimension of the descriptors.
        data: A description of the whitening pictures, for the spec.

    Raises:
        errors.FailedPrecondition: The weights can neither be read nor downloaded.
        errors.InvalidArgument: The file's weights are of another network, or there are too few
            pictures.
    """
    preprocessing = preprocessing or Preprocessing(size=224)
    try:
        spec = NetworkSpec(
            backbone=backbone,  # type: ignore[arg-type]  # it checks
            grid=grid,
            dimension=dimension,
            contrast=pretrained_contrast(backbone),
        )
    except ValueError as error:
        raise errors.InvalidArgument(str(error), field="backbone") from error
    network = DescriptorNetwork(spec)
    origin = load_backbone(network, path=path)
    network.eval()
    features = collect(network.features, pictures=whitening_images)
    try:
        whitening = fit_whitening(features, dimension=dimension)
    except ValueError as error:
        raise errors.InvalidArgument(str(error), field="whitening_images") from error
    set_whitening(network, whitening)
    model_spec = ModelSpec(
        name=backbone,
        network=spec,
        preprocessing=preprocessing,
        whitening={"method": "PCA", "images": len(whitening_images), "data": data},
        parents=(origin.name,),
        initial_weights=origin.to_dict(),
    )
    return Model(model_spec, network=network)


def collect(
    function: Callable[[torch.Tensor], torch.Tensor],
    *,
    pictures: NDArray[np.uint8] | torch.Tensor,
    batch: int = _BATCH,
) -> NDArray[np.float32]:
    """Apply a function of a network to pictures in batches, without gradients.

    Args:
        function: Takes pictures [B, 1, S, S], and returns a row for each, [B, F].
        pictures: uint8 [N, S, S].
        batch: The most pictures in a batch.

    Returns:
        float32 [N, F], on the CPU.
    """
    rows = torch.as_tensor(pictures)
    with torch.inference_mode():
        parts = [function(part.unsqueeze(1)).float().cpu() for part in torch.split(rows, batch)]
    joined: NDArray[np.float32] = torch.cat(parts).numpy()
    return joined


def set_whitening(network: DescriptorNetwork, whitening: Whitening) -> None:
    """Put a fitted whitening into the network's last layer."""
    device = network.whitening_mean.device
    network.whitening_mean.copy_(torch.from_numpy(whitening.mean).to(device))
    network.whitening_matrix.copy_(torch.from_numpy(whitening.matrix).to(device))


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """Convert weights to float16; statistics and other vectors stay as they are."""
    compact = tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
    return compact.contiguous().cpu()


def _full(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor of a file as float32, so that the file need not stay mapped."""
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


def _decode_png(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))
