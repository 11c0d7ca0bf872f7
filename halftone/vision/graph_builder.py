"""Collects the nodes and constants of an ONNX graph, and takes weights by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class GraphBuilder:
    """Collects nodes and constants; every method returns the name of what it added."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._weights = weights
        self._used: set[str] = set()
        self._prefix = ""

    @property
    def unused(self) -> list[str]:
        """The names of the weights that nothing has asked for. Counts of batches are no weights."""
        return [
            name
            for name, values in self._weights.items()
            if name not in self._used and values.size and not name.endswith("num_batches_tracked")
        ]

    def weight(self, name: str, *, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
        """Return a weight in float32.

        Args:
            name: Its name.
            shape: The shape that it must have; None stands for any length.

        Raises:
            KeyError: It is missing.
            ValueError: It has another shape.
        """
        self._used.add(name)
        values = np.asarray(self._weights[name], dtype=np.float32)
        fits = len(shape) == values.ndim and all(
            wanted in (None, length) for wanted, length in zip(shape, values.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"{name} has the shape {values.shape}, not {shape}")
        return values

    def has(self, name: str) -> bool:
        """Return whether there is a weight of this name."""
        return name in self._weights

    def name_nodes(self, prefix: str) -> None:
        """Start the names of the nodes from here on with a prefix."""
        self._prefix = prefix

    def constant(self, values: NDArray[Any]) -> str:
        """Add a constant, in the type of the array."""
        from onnx import numpy_helper  # noqa: PLC0415

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def number(self, value: float) -> str:
        """Add a float32 number that broadcasts to any shape."""
        return self.constant(np.array(value, dtype=np.float32))

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        from onnx import helper  # noqa: PLC0415

        name = output or f"{self._prefix}{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def reduce(self, kind: str, x: str, *, axes: Sequence[int]) -> str:
        """Add a reduction that keeps the reduced axes with length 1."""
        return self.add(kind, x, self.constant(np.array(axes, dtype=np.int64)), keepdims=1)
