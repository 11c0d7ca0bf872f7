"""EfficientNet-Lite (Tan and Le 2019; Liu 2020) up to its last feature map.

It computes what `efficientnet_lite_pytorch` computes, which was converted from TensorFlow:
convolutions pad as TensorFlow does, batch norm has its epsilon, and there is neither squeezing nor
excitation. The four stages end where height and width are a quarter, an eighth, a sixteenth and a
thirty-second, as a ResNet's do; the widening convolution after the last block ends the fourth. What
leaves the first three stages may be negative, since a block ends without an activation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from halftone.core.backbones import LITE_HEAD, LITE_STEM, lite_blocks

if TYPE_CHECKING:
    from halftone.core.backbones import Backbone, InvertedBlock

EPSILON: Final = 1e-3
"""What batch norm adds to a variance."""
_MOMENTUM: Final = 0.01
_STAGES: Final = 4


class SamePadded(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME": an odd pixel more on the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', ceil(H / stride), ceil(W / stride)]."""
        height, width = x.shape[-2:]
        top, bottom = _split(height, kernel=self.kernel_size[0], stride=self.stride[0])
        left, right = _split(width, kernel=self.kernel_size[1], stride=self.stride[1])
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """Convolutions of 1 x 1 that widens, k x k on each channel alone, and 1 x 1 that narrows."""

    def __init__(self, block: InvertedBlock) -> None:
        super().__init__()
        wide = block.channels * block.expansion
        self.widens, self.shortcut = block.expansion > 1, block.shortcut
        if self.widens:
            self.conv1 = _convolution(block.channels, wide)
            self.bn1 = _norm(wide)
        self.conv2 = _convolution(wide, wide, kernel=block.kernel, stride=block.stride, groups=wide)
        self.bn2 = _norm(wide)
        self.conv3 = _convolution(wide, block.out)
        self.bn3 = _norm(block.out)
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, H, W] to [N, out, ceil(H / stride), ceil(W / stride)]."""
        out = self.relu(self.bn1(self.conv1(x))) if self.widens else x
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        result: Tensor = out + x if self.shortcut else out
        return result


def make_stem(*, channels: int) -> nn.Sequential:
    """Make what comes before the stages: [N, channels, H, W] to [N, 32, H / 2, W / 2]."""
    return nn.Sequential(
        _convolution(channels, LITE_STEM, kernel=3, stride=2),
        _norm(LITE_STEM),
        nn.ReLU6(inplace=True),
    )


def make_stages(backbone: Backbone, *, count: int) -> nn.ModuleList:
    """Make the first `count` of the four stages. Each halves height and width."""
    stages = nn.ModuleList()
    for number, blocks in enumerate(lite_blocks(backbone)[:count], start=1):
        stage = nn.Sequential(*(InvertedResidual(block) for block in blocks))
        if number == _STAGES:
            head = (
                _convolution(blocks[-1].out, LITE_HEAD),
                _norm(LITE_HEAD),
                nn.ReLU6(inplace=True),
            )
            stage.append(nn.Sequential(*head))
        stages.append(stage)
    return stages


def stage_channels(backbone: Backbone, *, stage: int) -> int:
    """Return the channels after a stage, counted from 1."""
    return LITE_HEAD if stage == _STAGES else lite_blocks(backbone)[stage - 1][-1].out


def _split(side: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Return the pixels that are added before and after a side."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def _convolution(
    channels: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    kind = nn.Conv2d if kernel == 1 else SamePadded
    return kind(channels, out, kernel_size=kernel, stride=stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=_MOMENTUM)
