"""Chooses the backend that runs models here: by the settings, the device and what is installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from halftone.core import errors, extras, telemetry
from halftone.core.system import has_nvidia_driver
from halftone.services.embedder.encoders.portable_encoder import PortableBackend
from halftone.vision import quantizing
from halftone.vision.descriptor_model import is_torch_installed

if TYPE_CHECKING:
    from collections.abc import Callable

    from halftone.core.settings import EmbedderSettings
    from halftone.registry.version import ModelVersion
    from halftone.services.embedder.encoders.decoding import Decoder
    from halftone.services.embedder.encoders.encoder import Backend, Encoder

_ON_CPU: Final = ("auto", "cpu")

_log = telemetry.get_logger(__name__)


def choose_backend(
    settings: EmbedderSettings,
    *,
    decoder: Decoder,
    has_cuda: Callable[[], bool] | None = None,
) -> Backend:
    """Return the backend that runs the models.

    Args:
        settings: The settings of the embedder.
        decoder: The decoder of images.
        has_cuda: Tells whether torch can use a GPU; None looks for one.

    Raises:
        errors.FailedPrecondition: The settings contradict each other, or ask for what is not
            installed.
    """

    def make_portable(*, int8: bool) -> PortableBackend:
        return PortableBackend(
            threads=settings.threads,
            max_batch=settings.max_batch,
            decoder=decoder,
            precision="int8" if int8 else "float32",
        )

    if settings.backend in ("portable", "int8"):
        if settings.device not in _ON_CPU:
            raise errors.FailedPrecondition(
                f"The backend {settings.backend!r} runs on the CPU; the device is set to "
                f"{settings.device}.",
                reason="NO_DEVICE",
            )
        return make_portable(int8=settings.backend == "int8")
    if settings.backend == "torch" or settings.device not in _ON_CPU:
        return _make_torch(settings, decoder=decoder, device=settings.device)
    if settings.device == "auto" and (has_cuda or _has_cuda)():
        return _make_torch(settings, decoder=decoder, device="cuda")
    return PreferringInt8(int8=make_portable(int8=True), plain=make_portable(int8=False))


class PreferringInt8:
    """Loads the int8 form of a version if there is a usable one, otherwise the version itself.

    Both run on the CPU with the same number of workers.
    """

    def __init__(self, *, int8: Backend, plain: Backend) -> None:
        self._int8 = int8
        self._plain = plain
        self.max_batch = plain.max_batch
        self.workers = plain.workers
        self.stages_ahead = plain.stages_ahead

    def prepare_device(self) -> None:
        """Prepare the device, which is the CPU."""
        self._plain.prepare_device()

    def load(self, version: ModelVersion) -> Encoder:
        """Return the encoder of the int8 form; of the version itself if that cannot be loaded."""
        if quantizing.place(version).is_dir():
            try:
                return self._int8.load(version)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the form, the version is served
                expected = isinstance(error, errors.HalftoneError)
                _log.error(
                    "int8_refused",
                    model_version=version.id,
                    error=str(error),
                    exc_info=None if expected else error,
                )
        return self._plain.load(version)


def _make_torch(settings: EmbedderSettings, *, decoder: Decoder, device: str) -> Backend:
    # OpenMP's threads spin at their barriers by default. As soon as anything else wants the same
    # cores they wait for one another: with a busy neighbour on two cores, one image took 829 ms
    # instead of 20. OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from halftone.services.embedder.encoders.torch_encoder import TorchBackend  # noqa: PLC0415
    except ImportError as error:
        raise errors.FailedPrecondition(
            f"Embedding on a GPU or with the backend 'torch' needs more packages ({error}): "
            f"{extras.make_install_command('torch')}",
            reason="NOT_INSTALLED",
        ) from error
    return TorchBackend(
        device=device,
        threads=settings.threads,
        max_batch=settings.max_batch,
        decoder=decoder,
        execution=settings.execution,
    )


def _has_cuda() -> bool:
    """Return whether torch can use a GPU. Imports torch, which takes seconds, by need only."""
    if not (is_torch_installed() and has_nvidia_driver()):
        return False
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch  # noqa: PLC0415

    return bool(torch.cuda.is_available())
