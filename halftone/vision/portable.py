"""Runs a model version on the CPU without torch: its network in ONNX, by OpenVINO or onnxruntime.

The graph is written from `spec.json` and `model.safetensors` whenever a version is loaded, which
takes a tenth of a second for the starter and a second or two for a ResNet-152 (`graph`). A version
thus needs no further file, and every version that was ever published can be run so.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from concurrent import futures
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from halftone.core import errors, extras
from halftone.vision import graph
from halftone.vision.descriptor_model import DescriptorModel
from halftone.vision.spec import WEIGHTS, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_LEAST_COSINE: Final = 0.9999


class Network(Protocol):
    """A compiled network. Calls may come from several threads.

    Attributes:
        runtime: The library that runs it: `openvino` or `onnxruntime`.
    """

    runtime: str

    def __call__(self, pictures: NDArray[np.uint8], /, *, parts: int = 1) -> NDArray[np.float32]:
        """Turn uint8 [N, 1, S, S] into descriptors, float32 [N, D].

        Args:
            pictures: The pictures.
            parts: The number of streams that may share the work, if the runtime has streams.
        """


class PortableModel(DescriptorModel):
    """A model version that runs without torch."""

    def __init__(self, spec: ModelSpec, *, network: Network) -> None:
        self.spec = spec
        self.runtime = network.runtime
        self._network = network

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        threads: int = 0,
        streams: int = 1,
        runtime: str | None = None,
    ) -> PortableModel:
        """Read a version's spec and weights. The hashes of the files are not checked here.

        Args:
            directory: The directory of the version's files.
            threads: The threads of all calls together; 0 means one per core.
            streams: The number of calls that run at a time, each with its share of the threads.
            runtime: `openvino` or `onnxruntime`; None takes the first one that is installed.

        Raises:
            errors.DataLoss: A file is missing, damaged, or does not fit the spec.
            errors.FailedPrecondition: The version is in the format of another release, or a package
                is not installed.
            errors.Internal: The runtime cannot use the model.
        """
        spec, model = write_model(directory)
        network = compile_network(model, threads=threads, streams=streams, runtime=runtime)
        return cls(spec, network=network)

    def embed(self, batch: NDArray[np.uint8], *, parts: int = 1) -> NDArray[np.float32]:
        """Compute descriptors; see `DescriptorModel.embed`. May be called from several threads.

        Args:
            batch: uint8 [N, S, S].
            parts: The number of streams that may share the batch. More than one makes sense if no
                other call runs at the same time.
        """
        if batch.ndim != len("NSS"):
            raise ValueError(f"a batch must be [N, S, S], not {batch.shape}")
        return self._network(batch[:, None], parts=parts)


def check_golden(directory: Path) -> float:
    """Compare what a version computes without torch with its golden vectors.

    Returns:
        The lowest cosine.

    Raises:
        errors.DataLoss: A cosine is lower than 0.9999.
        errors.HalftoneError: The version cannot be loaded; see `PortableModel.load`.
    """
    lowest = PortableModel.load(directory).check_golden(directory)
    if lowest < _LEAST_COSINE:
        raise errors.DataLoss(
            f"Without torch, the model in {directory} gives descriptors with a cosine of "
            f"{lowest:.6f} to those with torch; at least {_LEAST_COSINE} is required.",
            reason="GOLDEN_MISMATCH",
        )
    return lowest


def write_model(directory: Path) -> tuple[ModelSpec, bytes]:
    """Read a version, and write its network as a serialised ONNX model; see `graph.write_graph`.

    Raises:
        errors.DataLoss: A file is missing, damaged, or does not fit the spec.
        errors.FailedPrecondition: The version is in the format of another release, or a package is
            not installed.
    """
    try:
        import safetensors.numpy  # noqa: PLC0415  # an extra

        spec = ModelSpec.read(directory)
        weights = safetensors.numpy.load_file(directory / WEIGHTS)
        return spec, graph.write_graph(spec.network, weights=weights, size=spec.preprocessing.size)
    except ImportError as error:
        raise _make_missing_error(error) from error
    except (FileNotFoundError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise errors.DataLoss(
            f"The model in {directory} cannot be loaded: {error}", reason="MODEL_DAMAGED"
        ) from error


def list_runtimes() -> tuple[str, ...]:
    """Return the runtimes that are installed, the one that is taken by default first."""
    return tuple(name for name in _RUNTIMES if importlib.util.find_spec(name) is not None)


def compile_network(
    model: bytes | Path, *, threads: int = 0, streams: int = 1, runtime: str | None = None
) -> Network:
    """Compile a network for this machine's CPU.

    Args:
        model: A serialised ONNX model, or a file that the runtime can read.
        threads: The threads of all calls together; 0 means one per core.
        streams: The number of calls that run at a time, each with its share of the threads.
        runtime: `openvino` or `onnxruntime`; None takes the first one that is installed.

    Raises:
        errors.FailedPrecondition: The runtime is not installed, or none is.
        errors.Internal: The runtime cannot use the model.
    """
    threads = threads or os.cpu_count() or 1
    for name in _RUNTIMES if runtime is None else (runtime,):
        try:
            return _RUNTIMES[name](model, threads, streams)
        except ImportError as error:
            missing = error
        except RuntimeError as error:
            raise errors.Internal(f"{name} cannot use the model: {error}") from error
    raise _make_missing_error(missing) from missing


def _make_missing_error(error: ImportError) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Embedding pictures on a CPU needs more packages ({error}): "
        f"{extras.make_install_command('local')}",
        reason="NOT_INSTALLED",
    )


def import_openvino() -> Any:
    """Import OpenVINO in a way that it does not report its use to anybody.

    Raises:
        ImportError: It is not installed.
    """
    # It does so through a module of its own; `None` in its place makes importing that fail, which
    # OpenVINO puts up with.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino  # noqa: PLC0415  # an extra

    return openvino


def load_openvino() -> Any:
    """Return the one `openvino.Core` of this process.

    On Linux, the first use of a core gives the calling thread a stack for signals, and the core
    takes it back when it goes. Of two cores that do not go in the reverse order, the second one
    leaves the thread with the stack of the first, which is gone: the next signal kills the process.
    So there is one, and it stays.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    return _make_core(import_openvino())


@functools.cache
def _make_core(openvino: Any) -> Any:
    return openvino.Core()


def _compile_with_openvino(model: bytes | Path, threads: int, streams: int) -> Network:
    core = load_openvino()
    return _OpenVino(
        core.compile_model(
            core.read_model(model),
            "CPU",
            {
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": threads,
                # bfloat16 would be used where the processor has it. Whitening magnifies weak
                # directions, and every rounding with them.
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
    )


class _OpenVino:
    runtime = "openvino"

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def __call__(self, pictures: NDArray[np.uint8], *, parts: int = 1) -> NDArray[np.float32]:
        shares = [
            np.ascontiguousarray(share)
            for share in np.array_split(pictures, max(1, min(parts, len(pictures))))
        ]
        # A request is one thread's at a time; making one costs microseconds.
        requests = [self._compiled.create_infer_request() for _ in shares]
        for request, share in zip(requests, shares, strict=True):
            request.start_async([share], share_inputs=True)
        for request in requests:
            request.wait()
        return np.concatenate([request.get_output_tensor(0).data for request in requests])


def _compile_with_onnxruntime(model: bytes | Path, threads: int, streams: int) -> Network:
    import onnxruntime  # noqa: PLC0415  # an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, threads // streams)
    # By default threads spin while they wait for one another. With a busy neighbour on the same
    # cores that takes many times as long as waking up.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:
        # Its errors derive from Exception alone.
        raise RuntimeError(str(error)) from error
    return _OnnxRuntime(session, streams=streams)


class _OnnxRuntime:
    runtime = "onnxruntime"

    def __init__(self, session: Any, *, streams: int) -> None:
        self._session = session
        # A session has no streams of its own; each call computes on the thread that makes it.
        self._threads = futures.ThreadPoolExecutor(streams, thread_name_prefix="onnxruntime")

    def __call__(self, pictures: NDArray[np.uint8], *, parts: int = 1) -> NDArray[np.float32]:
        shares = np.array_split(pictures, max(1, min(parts, len(pictures))))
        if len(shares) == 1:
            return self._run(pictures)
        return np.concatenate(list(self._threads.map(self._run, shares)))

    def _run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        (descriptors,) = self._session.run(None, {graph.INPUT: np.ascontiguousarray(pictures)})
        return np.asarray(descriptors, dtype=np.float32)


_ERRORS_ONLY: Final = 3
_RUNTIMES: Final[dict[str, Callable[[bytes | Path, int, int], Network]]] = {
    # OpenVINO is the faster one (`python -m tests.bench.portable`).
    "openvino": _compile_with_openvino,
    "onnxruntime": _compile_with_onnxruntime,
}
