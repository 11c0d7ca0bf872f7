"""ResNet (He et al. 2016) up to its last feature map, computing what torchvision's computes.

The names of weights within a stage are torchvision's. Its own classes are not used because
importing torchvision imports torch's compiler, which takes longer than everything else at the start
of an embedder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import Tensor, nn

from halftone.core.backbones import BOTTLENECKS, DEPTHS

if TYPE_CHECKING:
    from halftone.core.backbones import Backbone

STEM_CHANNELS: Final = 64


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut."""

    expansion: Final = 1

    def __init__(self, channels: int, *, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, width, kernel=3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, kernel=3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, width, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, H, W] to [N, width, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out)
        return result


class Bottleneck(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 (which has the stride) and 1 x 1, and a shortcut."""

    expansion: Final = 4

    def __init__(self, channels: int, *, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, width, kernel=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, kernel=3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, 4 * width, kernel=1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, 4 * width, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, H, W] to [N, 4 width, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out)
        return result


def make_stem(*, channels: int = 3) -> nn.Sequential:
    """Make what comes before the stages: [N, channels, H, W] to [N, 64, H / 4, W / 4]."""
    return nn.Sequential(
        _convolution(channels, STEM_CHANNELS, kernel=7, stride=2),
        nn.BatchNorm2d(STEM_CHANNELS),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )


def make_stages(backbone: Backbone, *, count: int) -> nn.ModuleList:
    """Make the first `count` of the four stages. All but the first halve height and width."""
    block = _block(backbone)
    stages, channels = nn.ModuleList(), STEM_CHANNELS
    for number, depth in enumerate(DEPTHS[backbone][:count]):
        blocks = nn.Sequential()
        for at in range(depth):
            stride = 2 if number and not at else 1
            blocks.append(block(channels, width=STEM_CHANNELS << number, stride=stride))
            channels = stage_channels(backbone, stage=number + 1)
        stages.append(blocks)
    return stages


def stage_channels(backbone: Backbone, *, stage: int) -> int:
    """Return the channels after a stage, counted from 1."""
    return (STEM_CHANNELS << (stage - 1)) * _block(backbone).expansion


def _block(backbone: Backbone) -> type[BasicBlock | Bottleneck]:
    return Bottleneck if backbone in BOTTLENECKS else BasicBlock


def _convolution(channels: int, out: int, *, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        channels, out, kernel_size=kernel, stride=stride, padding=kernel // 2, bias=False
    )


def _shortcut(channels: int, out: int, *, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(_convolution(channels, out, kernel=1, stride=stride), nn.BatchNorm2d(out))
