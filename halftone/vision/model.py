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
from torch import nn

from halftone.core import errors, files
from halftone.registry import golden
from halftone.registry.manifest import SPEC
from halftone.vision import resnet
from halftone.vision.descriptor_model import DescriptorModel
from halftone.vision.network import DescriptorNetwork
from halftone.vision.network_spec import NetworkSpec
from halftone.vision.preprocessing import Preprocessing
from halftone.vision.spec import WEIGHTS, ModelSpec
from halftone.vision.whitening import Whitening, fit_whitening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from halftone.core.backbones import Backbone

__all__ = ["Model", "Whitening", "fit_whitening", "import_torchvision_resnet"]

_GOLDEN_COUNT: Final = 4
_BATCH: Final = 32
_BACKBONE_NAMES: Final = ("stem.", "stages.")
# Keyed by whether a block has three convolutions, and by the number of blocks of each stage.
_KINDS: Final[dict[tuple[bool, tuple[int, ...]], str]] = {
    (False, (2, 2, 2, 2)): "a ResNet-18",
    (False, (3, 4, 6, 3)): "a ResNet-34",
    (True, (3, 4, 6, 3)): "a ResNet-50",
    (True, (3, 4, 23, 3)): "a ResNet-101",
    (True, (3, 8, 36, 3)): "a ResNet-152",
}


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


def import_torchvision_resnet(
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
        path: A `.pth` or `.safetensors` file with torchvision's names (`layer1.0.conv1.weight`)
            or ours; None downloads `IMAGENET1K_V2` (`_V1` of ResNet-18, which has no second) and
            checks its hash.
        whitening_images: uint8 [N, S, S], prepared with `preprocessing`; more than `dimension`.
        backbone: `resnet18`, `resnet50` or `resnet152`.
        preprocessing: The preprocessing of pictures; None takes 224 pixels.
        grid: Cells per side. A grid keeps the layout of a picture, which its reprint shares.
        dimension: Dimension of the descriptors.
        data: A description of the whitening pictures, for the spec.

    Raises:
        errors.FailedPrecondition: The weights can neither be read nor downloaded. Nothing is ever
            initialised at random instead: such a network finds nothing, and looks healthy.
        errors.InvalidArgument: The file's weights are of another network, or there are too few
            pictures.
    """
    preprocessing = preprocessing or Preprocessing(size=224)
    try:
        spec = NetworkSpec(backbone=backbone, grid=grid, dimension=dimension)  # type: ignore[arg-type]  # it checks
    except ValueError as error:
        raise errors.InvalidArgument(str(error), field="backbone") from error
    source, weights = _read_weights(path, backbone=backbone)
    network = DescriptorNetwork(spec)
    renamed = _our_names(weights)
    _check_weights(renamed, source=source, backbone=spec.backbone)
    network.load_state_dict(renamed, strict=False)
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
        parents=(source,),
    )
    return Model(model_spec, network=network)


def load_backbone(network: DescriptorNetwork, *, path: Path | None = None) -> str:
    """Give the stem and the stages of a network ImageNet weights; return where they are from.

    Args:
        network: The network, changed in place. It may run fewer than the four stages of the file.
        path: The file of weights, as in `import_torchvision_resnet`, which raises the same errors.
    """
    backbone = network.spec.backbone
    source, weights = _read_weights(path, backbone=backbone)
    renamed = _our_names(weights)
    _check_weights(renamed, source=source, backbone=backbone)
    mine = network.state_dict().keys()
    network.load_state_dict(
        {name: tensor for name, tensor in renamed.items() if name in mine}, strict=False
    )
    return source


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


def _read_weights(path: Path | None, *, backbone: str) -> tuple[str, dict[str, torch.Tensor]]:
    if path is not None:
        try:
            if path.suffix == ".safetensors":
                return path.name, safetensors.torch.load_file(path)
            return path.name, dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # unpicklers and file systems raise anything
            raise errors.FailedPrecondition(
                f"The weights in {path} cannot be read ({error}). Give a .pth file of "
                f"torchvision's {backbone} or a .safetensors file with the same names.",
                reason="WEIGHTS_UNREADABLE",
            ) from error
    import torchvision  # noqa: PLC0415  # slow to import

    enum = getattr(torchvision.models, f"{backbone.replace('resnet', 'ResNet')}_Weights")
    weights = getattr(enum, "IMAGENET1K_V2", None) or enum.IMAGENET1K_V1
    try:
        # The file's name carries its hash, which `check_hash` verifies.
        state = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:
        raise errors.FailedPrecondition(
            f"{weights} could not be downloaded ({error}). Download {weights.url} on a machine "
            "that can, copy the file here, and give its path.",
            reason="WEIGHTS_MISSING",
        ) from error
    return f"torchvision {weights}", dict(state)


def _our_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename torchvision's `conv1`, `bn1`, `layer1.` to `stem.0`, `stem.1`, `stages.0.`.

    Weights outside stem and stages are left out. Floats become float32.
    """
    prefixes = {"conv1.": "stem.0.", "bn1.": "stem.1."}
    prefixes |= {f"layer{stage}.": f"stages.{stage - 1}." for stage in range(1, 5)}
    renamed = {}
    for name, tensor in weights.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        name_here = prefixes.get(prefix, "") + name.removeprefix(prefix)
        if name_here.startswith(_BACKBONE_NAMES):
            renamed[name_here] = _full(tensor)
    return renamed


def _check_weights(weights: Mapping[str, torch.Tensor], *, source: str, backbone: Backbone) -> None:
    """Check that weights fit a backbone exactly.

    Raises:
        errors.InvalidArgument: Weights are missing, too many or of another shape.
    """
    with torch.device("meta"):
        whole = nn.ModuleDict(
            {"stem": resnet.make_stem(), "stages": resnet.make_stages(backbone, count=4)}
        )
    # Old files do not count batches, and nothing reads that count.
    expected, shapes = (
        {
            name: tuple(tensor.shape)
            for name, tensor in tensors.items()
            if name.startswith(_BACKBONE_NAMES) and not name.endswith("num_batches_tracked")
        }
        for tensors in (whole.state_dict(), weights)
    )
    wrong = {
        "missing": sorted(expected.keys() - shapes),
        "too many": sorted(shapes.keys() - expected),
        "of another shape": sorted(
            name for name in expected.keys() & shapes if expected[name] != shapes[name]
        ),
    }
    facts = [
        f"{len(names)} weights are {how} ({names[0]})" for how, names in wrong.items() if names
    ]
    if facts:
        raise errors.InvalidArgument(
            f"{source} holds no {backbone} but {_guess_network(shapes)}: {', '.join(facts)}.",
            field="path",
            reason="OTHER_WEIGHTS",
        )


def _guess_network(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Guess the network of a file's weights by the number of its blocks."""
    blocks = tuple(
        len({name.split(".")[2] for name in shapes if name.startswith(f"stages.{stage}.")})
        for stage in range(4)
    )
    bottleneck = any(".conv3." in name for name in shapes)
    plain = shapes.get("stages.0.0.conv2.weight", ())[:2] == (64, 64)
    kind = _KINDS.get((bottleneck, blocks))
    return f"what seems to be {kind}" if plain and kind else "something else"


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """Convert weights to float16; statistics and other vectors stay as they are."""
    compact = tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
    return compact.contiguous().cpu()


def _full(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor of a file as float32, so that the file need not stay mapped."""
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


def _decode_png(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))
