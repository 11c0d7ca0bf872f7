"""Simulates a press in torch, in batches: what happens to a picture between two printings of it.

The self-supervised objective learns from it that two printings of one picture belong together, so
each step copies something seen on real plates: another crop and a slight turn, paper margins and
frame lines, two pictures on one plate, retouched backgrounds, tone curves up to plates that are
almost line blocks, blur, screens of dots or of engraved lines, paper grain. It works at the
network's resolution, where a screen is only a fine texture; `halftone.vision.reprinting` works at
full size.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from halftone.vision.reprinting import reprint

__all__ = ["PressSimulation", "PrintParameters", "reprint"]


@dataclass(frozen=True, kw_only=True)
class PrintParameters:
    """The limits on how far a simulated printing may depart from its picture.

    Attributes:
        crop: The largest share of a side that a printing loses.
        margin: The widest paper margin that it gains, a share of the side.
        aspect: The largest change of the aspect ratio.
        rotation: Standard deviation of the rotation in degrees.
        perspective: The strongest keystone.
        turn: Probability of lying sideways.
        composite: Probability of sharing the plate with another picture.
        part: Probability of showing a part of the picture alone: a head out of a group, a third of
            a plate.
        part_side: The smallest share of a side that such a part has.
        frame: Probability of a frame line.
        caption: Probability of a caption strip.
        vignette: Probability of a background that fades to paper.
        mask: Probability of an oval, arched or rounded plate.
        shade: Probability of uneven light.
        local_tone: Probability of dodging or burning.
        line_block: Probability of a plate of almost black and white.
        blur: Probability of blur.
        screen: Probability of a visible screen.
        grain: Probability of grain and mottle.
        mirror: Probability of a plate turned over; 0 where searches turn the query instead.
        dot_gain: Probability of ink that spreads on cheap paper: dots swell, lights close.
        bilevel: Probability of a scan in black and white alone.
        show_through: Probability of the sheet's other side shining through.
    """

    crop: float = 0.18
    margin: float = 0.08
    aspect: float = 0.08
    rotation: float = 1.2
    perspective: float = 0.02
    turn: float = 0.0
    composite: float = 0.05
    frame: float = 0.10
    caption: float = 0.07
    vignette: float = 0.08
    mask: float = 0.12
    shade: float = 0.3
    local_tone: float = 0.3
    line_block: float = 0.3
    blur: float = 0.6
    screen: float = 0.2
    grain: float = 0.5
    # These are off: the published starter learned without them, and their effect is not measured.
    mirror: float = 0.0
    dot_gain: float = 0.0
    bilevel: float = 0.0
    show_through: float = 0.0
    part: float = 0.0
    part_side: float = 0.3

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


class PressSimulation:
    """Print pictures: uint8 [N, H, W] -> uint8 [N, size, size], another printing of each.

    All randomness comes from `generator`, so a saved generator state continues the same sequence of
    printings.

    Args:
        size: The side of the printings in pixels.
        parameters: The parameters of the press; None: the defaults.
    """

    def __init__(self, *, size: int, parameters: PrintParameters | None = None) -> None:
        self.size = size
        self.parameters = parameters or PrintParameters()

    def __call__(self, pictures: Tensor, *, generator: torch.Generator) -> Tensor:
        """Print each picture once.

        Args:
            pictures: uint8 [N, H, W], on the device of `generator`.
            generator: The source of all randomness.

        Returns:
            The printings, uint8 [N, size, size].
        """
        return self.print_plates(pictures, generator=generator)[0]

    def print_plates(
        self, pictures: Tensor, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Print each picture once, and say which other picture is on its plate.

        Args:
            pictures: As in `__call__`.
            generator: As in `__call__`.

        Returns:
            The printings, uint8 [N, size, size], and int64 [N], for each the row of the picture
            that shares its plate; -1 where it is alone.
        """
        if pictures.dtype != torch.uint8 or pictures.ndim != len("NHW"):
            raise ValueError(
                f"pictures must be uint8 [N, H, W], not {pictures.dtype} {tuple(pictures.shape)}"
            )
        press = _Press(
            count=len(pictures), size=self.size, parameters=self.parameters, generator=generator
        )
        x = press.lay_out(press.turn_over(pictures.float().div(255.0).unsqueeze(1)))
        x = press.retouch(x)
        x = press.tone(x)
        x = press.blur(x)
        x = press.screen(x)
        x = press.ink(x)
        x = press.paper(x)
        x = press.scan(x)
        printings = x.squeeze(1).mul(255.0).add(0.5).clamp(0, 255).to(torch.uint8)
        return printings, press.neighbours


class _Press:
    """One batch's printing: draws parameters in a fixed order, applies them to [N, 1, S, S]."""

    def __init__(
        self, *, count: int, size: int, parameters: PrintParameters, generator: torch.Generator
    ) -> None:
        self.count, self.size, self.p, self.generator = count, size, parameters, generator
        self.device = generator.device
        self.neighbours = torch.full((count,), -1, dtype=torch.int64, device=self.device)
        line = (torch.arange(size, device=self.device, dtype=torch.float32) + 0.5) / size * 2 - 1
        self.v, self.u = torch.meshgrid(
            line, line, indexing="ij"
        )  # both [S, S], pixel centres in [-1, 1]

    # These draw random values; each returns [N, 1, 1, 1] so that it broadcasts over pictures.

    def uniform(self, low: float, high: float) -> Tensor:
        return (
            torch.rand(self.count, 1, 1, 1, generator=self.generator, device=self.device)
            * (high - low)
            + low
        )

    def normal(self) -> Tensor:
        return torch.randn(self.count, 1, 1, 1, generator=self.generator, device=self.device)

    def choose(self, probability: float) -> Tensor:
        return self.uniform(0, 1) < probability

    def field(self, cells: int) -> Tensor:
        """Return smooth noise, [N, 1, S, S], of unit variance at the nodes of a grid of cells."""
        nodes = torch.randn(
            self.count, 1, cells, cells, generator=self.generator, device=self.device
        )
        return F.interpolate(
            nodes, size=(self.size, self.size), mode="bilinear", align_corners=False
        )

    # These are the steps of the process, in their order.

    def turn_over(self, x: Tensor) -> Tensor:
        """Mirror some pictures."""
        if not self.p.mirror:  # without a draw, so that the other effects keep their sequence
            return x
        return torch.where(self.choose(self.p.mirror), x.flip(3), x)

    def lay_out(self, x: Tensor) -> Tensor:
        """Crop, turn and stretch; put on paper, sometimes beside another picture of the batch."""
        p = self.p
        # Per side: mostly a little is lost, sometimes a lot, sometimes paper is gained. Squaring
        # keeps the mild cases common.
        edges = []
        for _ in range(4):
            lost = self.uniform(0, 1).square() * p.crop
            gained = self.uniform(0, 1).square() * p.margin
            edges.append(torch.where(self.choose(0.3), -gained, lost) * 2)
        left, right, top, bottom = (edge.flatten() for edge in edges)
        # A crop of both opposite sides adds up; halve it where the two together would pass the
        # limit.
        most = max(2 * p.crop, 1e-6)
        across = (left + right).clamp(min=most) / most
        down = (top + bottom).clamp(min=most) / most
        x0, x1 = -1 + left / across, 1 - right / across
        y0, y1 = -1 + top / down, 1 - bottom / down
        if p.part:
            x0, x1, y0, y1 = self._cut_part(x0, x1, y0, y1)
        # An aspect change of the square input comes from cropping differently; this one is the
        # plate's own shrinkage.
        stretch = 1 + (self.uniform(-1, 1) * p.aspect * 0.5).flatten()
        angle = (self.normal() * p.rotation).clamp(-6, 6).flatten() * (math.pi / 180)
        # Wide pictures are printed sideways on upright pages, in either direction.
        quarter = torch.where(self.choose(0.5), math.pi / 2, -math.pi / 2) * self.choose(p.turn)
        angle = angle + quarter.flatten()
        ku = (self.normal() * p.perspective * 0.5).clamp(-p.perspective, p.perspective)[..., 0]
        kv = (self.normal() * p.perspective * 0.5).clamp(-p.perspective, p.perspective)[..., 0]

        centre_x, centre_y = (x0 + x1) / 2, (y0 + y1) / 2
        half_x, half_y = (x1 - x0) / 2 * stretch, (y1 - y0) / 2 / stretch
        depth = 1 + ku * self.u + kv * self.v  # [N, S, S]
        u, v = self.u / depth, self.v / depth
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        source_x = centre_x[:, None, None] + half_x[:, None, None] * (cos * u - sin * v)
        source_y = centre_y[:, None, None] + half_y[:, None, None] * (sin * u + cos * v)

        paper = 1 - self.uniform(0, 1).square() * 0.25
        companions = self.choose(p.composite).flatten()
        if bool(companions.any()):
            source_x, source_y, other = self._share_plate(source_x, source_y, companions)
        printed = F.grid_sample(
            x - paper,
            torch.stack([source_x, source_y], dim=-1),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        if bool(companions.any()):
            rows = companions.nonzero().flatten()
            neighbours = (rows + 1) % self.count
            self.neighbours[rows] = neighbours
            beside = F.grid_sample(
                x[neighbours] - paper[rows], other, padding_mode="zeros", align_corners=False
            )
            empty = (printed[rows] == 0).to(printed.dtype)
            printed = printed.index_add(0, rows, beside * empty)
        return printed + paper

    def _cut_part(
        self, x0: Tensor, x1: Tensor, y0: Tensor, y1: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Replace the frame of some pictures by one of a part: cut in width, in height, or both."""
        some = self.choose(self.p.part).flatten()
        way = self.uniform(0, 1).flatten()
        sides = []
        for cut, low, high in ((way < 2 / 3, x0, x1), (way > 1 / 3, y0, y1)):
            share = self.uniform(self.p.part_side, 0.75).flatten()
            start = -1 + 2 * (1 - share) * self.uniform(0, 1).flatten()
            chosen = some & cut
            sides += [
                torch.where(chosen, start, low),
                torch.where(chosen, start + 2 * share, high),
            ]
        return sides[0], sides[1], sides[2], sides[3]

    def _share_plate(
        self, source_x: Tensor, source_y: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Shrink the chosen rows into a part of the plate, and sample another picture beside them.

        The two lie side by side, one above the other, or diagonally in opposite corners.
        """

        def place(value: Tensor) -> Tensor:
            return value.flatten()[:, None, None]

        extent = place(self.uniform(0.42, 0.6))
        layout = place(self.uniform(0, 1))
        across, down = layout < 2 / 3, layout > 1 / 3  # a third each, and both: diagonal
        first, rising = place(self.choose(0.5)), place(self.choose(0.5))
        # The centre of the part is as far from the plate's edge as half its extent.
        shift_u = torch.where(first, extent - 1, 1 - extent) * across
        shift_v = torch.where(first ^ rising, extent - 1, 1 - extent) * down
        size_u, size_v = torch.where(across, extent, 1.0), torch.where(down, extent, 1.0)
        grid = torch.stack([(self.u + shift_u) / size_u, (self.v + shift_v) / size_v], dim=-1)[rows]
        chosen = rows[:, None, None]
        mine_u, mine_v = (self.u - shift_u) / size_u, (self.v - shift_v) / size_v
        return torch.where(chosen, mine_u, source_x), torch.where(chosen, mine_v, source_y), grid

    def retouch(self, x: Tensor) -> Tensor:
        """Fade the background to paper, draw a frame line, add a caption strip."""
        p = self.p
        radius = ((self.u - self.uniform(-0.2, 0.2)) / self.uniform(0.65, 1.1)) ** 2
        radius = radius + ((self.v - self.uniform(-0.2, 0.2)) / self.uniform(0.65, 1.1)) ** 2
        fade = torch.sigmoid((radius - 1) * self.uniform(4, 20)) * self.choose(p.vignette)
        x = x + (1 - x) * fade

        # Ovals, arches and rounded plates with a hard edge. Without them a small network takes the
        # outline for the picture: the worst false matches of the first trials were different
        # portraits in the same oval.
        power = torch.where(self.choose(0.7), 2.0, self.uniform(3, 8))
        outline = (self.u.abs() / self.uniform(0.85, 1.05)) ** power
        arch = self.choose(0.25)  # the lower half stays square
        below = torch.where(
            arch & (self.v > 0), 0.0, (self.v.abs() / self.uniform(0.85, 1.05)) ** power
        )
        beyond = (outline + below > 1) & self.choose(p.mask)
        x = torch.where(beyond, 1 - self.uniform(0, 1).square() * 0.3, x)

        inset, width = self.uniform(0.9, 0.99), self.uniform(0.006, 0.02)
        reach = torch.maximum(self.u.abs(), self.v.abs())
        line = ((reach - inset).abs() < width) & self.choose(p.frame)
        x = torch.where(line, x * self.uniform(0.0, 0.5), x)
        outside = (reach > inset) & self.choose(0.5) & self.choose(p.frame)
        x = torch.where(outside, 1 - self.uniform(0, 0.1), x)

        strip = (self.v > 1 - self.uniform(0.05, 0.25)) & self.choose(p.caption)
        letters = torch.rand(
            self.count,
            1,
            self.size // 2,
            self.size // 2,
            generator=self.generator,
            device=self.device,
        )
        letters = F.interpolate(letters, size=(self.size, self.size), mode="nearest")
        rows_of_text = torch.sin(self.v * (self.size * 0.5)) > 0
        text = 1 - 0.7 * (
            rows_of_text & (letters > letters.mean()) & (self.u.abs() < self.uniform(0.3, 0.9))
        ).to(x.dtype)
        return torch.where(strip, text, x)

    def tone(self, x: Tensor) -> Tensor:
        """Apply uneven light, gamma, contrast and its loss, up to plates of black and white."""
        p = self.p
        light = self.normal() * self.u + self.normal() * self.v + self.field(4) * 0.7
        x = x + light * self.uniform(0, 0.15) * self.choose(p.shade)
        # Dodging and etching: part of the large-scale contrast is lost or added.
        coarse = F.interpolate(
            F.avg_pool2d(x, self.size // 8),
            size=(self.size, self.size),
            mode="bilinear",
            align_corners=False,
        )
        x = x - (coarse - 0.5) * self.uniform(-0.5, 0.9) * self.choose(p.local_tone)
        x = x.clamp(1e-3, 1).pow(torch.exp(self.uniform(-0.8, 0.8)))
        # A tone curve around this picture's own middle, so that dark and light pictures both keep
        # some drawing.
        middle = x.mean(dim=(2, 3), keepdim=True)
        pivot = (middle + self.normal() * 0.12).clamp(0.08, 0.92)
        hard = self.choose(p.line_block)
        slope = torch.where(
            hard, torch.exp(self.uniform(1.5, 3.4)), torch.exp(self.uniform(0.0, 1.5))
        )
        curved = torch.sigmoid((x - pivot) * slope)
        low, high = torch.sigmoid(-pivot * slope), torch.sigmoid((1 - pivot) * slope)
        x = (curved - low) / (high - low)
        black, white = self.uniform(0, 1).square() * 0.4, 1 - self.uniform(0, 1).square() * 0.3
        return black + x * (white - black)

    def blur(self, x: Tensor) -> Tensor:
        """Blur each picture with its own Gaussian, or sharpen it."""
        sigma = torch.where(self.choose(self.p.blur), torch.exp(self.uniform(-1.2, 0.4)), 0.05) * (
            self.size / 112
        )
        reach = 4
        taps = torch.arange(-reach, reach + 1, device=self.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (taps / sigma.flatten()[:, None]) ** 2)
        kernel = kernel / kernel.sum(dim=1, keepdim=True)
        stacked = F.pad(x, (reach,) * 4, mode="replicate").view(
            1, self.count, self.size + 2 * reach, self.size + 2 * reach
        )
        stacked = F.conv2d(stacked, kernel[:, None, None, :], groups=self.count)
        blurred = F.conv2d(stacked, kernel[:, None, :, None], groups=self.count).view_as(x)
        sharpened = x + (x - blurred) * self.uniform(0, 1.5)
        return torch.where(self.choose(0.25), sharpened, blurred).clamp(0, 1)

    def screen(self, x: Tensor) -> Tensor:
        """Print a screen of dots or lines at an angle; the scan averages some of it away."""
        period = torch.exp(self.uniform(math.log(1.6), math.log(3.6))) * (self.size / 112)
        angle = self.uniform(0, math.pi)
        frequency = math.pi * self.size / period
        along = (self.u * angle.cos() + self.v * angle.sin()) * frequency
        across = (self.v * angle.cos() - self.u * angle.sin()) * frequency
        lines = self.choose(0.3)
        threshold = 0.5 + torch.where(lines, along.cos() * 0.5, (along.cos() + across.cos()) * 0.25)
        inked = torch.sigmoid((x - threshold) * self.uniform(4, 14))
        amount = self.uniform(0.05, 0.6) * self.choose(self.p.screen)
        return x + (inked - x) * amount

    def paper(self, x: Tensor) -> Tensor:
        """Add grain and mottled ink."""
        noise = torch.randn(
            self.count, 1, self.size, self.size, generator=self.generator, device=self.device
        )
        some = self.choose(self.p.grain)
        x = x + noise * (self.uniform(0, 1).square() * 0.10 * some)
        return (x + self.field(self.size // 8) * (self.uniform(0, 0.05) * some)).clamp(0, 1)

    def ink(self, x: Tensor) -> Tensor:
        """Spread the ink (a minimum over neighbours, partly) and darken the middle tones."""
        if not self.p.dot_gain:
            return x
        spread = -F.max_pool2d(-x, 3, stride=1, padding=1)
        some = self.choose(self.p.dot_gain)
        x = x + (spread - x) * (self.uniform(0, 0.6) * some)
        # Dot gain is largest in the middle, about 20 % on newsprint, and none on paper and solid.
        return (x - 4 * x * (1 - x) * self.uniform(0, 0.2) * some).clamp(0, 1)

    def scan(self, x: Tensor) -> Tensor:
        """Let another picture of the batch shine through from behind; threshold the scan."""
        if self.p.show_through:
            behind = F.avg_pool2d(x.roll(1, dims=0).flip(3), 5, stride=1, padding=2)
            strength = self.uniform(0.03, 0.2) * self.choose(self.p.show_through)
            x = (x - (1 - behind) * strength).clamp(0, 1)
        if self.p.bilevel:
            middle = x.mean(dim=(2, 3), keepdim=True)
            black = (x > middle + self.normal() * 0.08).to(x.dtype)
            x = torch.where(self.choose(self.p.bilevel), black, x)
        return x
