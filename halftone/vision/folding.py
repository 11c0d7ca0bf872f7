"""Takes the normalisation of trained convolutions into their kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Iterable

Floats = NDArray[np.float32]


def fold_convolutions(
    convolutions: Iterable[nn.Module], norms: Iterable[nn.Module]
) -> tuple[list[Floats], list[Floats]]:
    """Return kernels and biases of convolutions that are each followed by a normalisation.

    Raises:
        TypeError: One of them is another layer, or has no bias.
    """
    kernels, biases = [], []
    for convolution, norm in zip(convolutions, norms, strict=True):
        if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
            raise TypeError(f"{convolution} and {norm} cannot be folded")
        folded = fuse_conv_bn_eval(convolution, norm)
        if folded.bias is None:
            raise TypeError("a folded convolution has a bias")
        kernels.append(folded.weight.contiguous().numpy())
        biases.append(folded.bias.numpy())
    return kernels, biases
