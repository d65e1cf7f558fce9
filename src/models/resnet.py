"""Residual networks for images (He et al., arXiv:1512.03385), from raw pixels to scores.

    pixels [n, 3, height, width]  ->  normalize  ->  stem  ->  blocks, in four stages  ->  mean over places  ->  head

Images of at most `SMALL` pixels a side keep their resolution in the stem; larger ones are reduced by four, as in the
paper. Channels are normalised in groups (Wu and He, arXiv:1803.08494) unless batch normalisation is asked for: groups
see one sample only, so the loss does not depend on how a global batch is shared out between ranks.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from ..errors import ConfigError
from .standardize import Restore, StandardizePixels

SMALL = 64
"""Longest side, in pixels, of images whose resolution the stem keeps."""
_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_BOTTLENECK = {50}
_EXPANSION = 4
_GROUPS = 32
_MULTIPLE = 8

Normalization = Callable[[int], nn.Module]


class ResidualBlock(nn.Module):
    """Two convolutions of 3x3, or in a bottleneck one between two of 1x1, added to what came in."""

    def __init__(self, inputs: int, width: int, stride: int, norm: Normalization, *, bottleneck: bool) -> None:
        """Map `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`; a bottleneck has 4 `width` outputs."""
        super().__init__()
        outputs = width * _EXPANSION if bottleneck else width
        if bottleneck:
            shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        else:
            shapes = [(inputs, width, 3, stride), (width, outputs, 3, 1)]
        self.convolutions = nn.ModuleList(_convolution(*shape) for shape in shapes)
        self.norms = nn.ModuleList(norm(shape[1]) for shape in shapes)
        # Blocks that begin as the identity train better (Goyal et al., arXiv:1706.02677, 5.1).
        nn.init.zeros_(self.norms[-1].weight)  # type: ignore[arg-type]
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, stride), norm(outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Return the sum of the shortcut and the convolutions, rectified."""
        inner, last = images, len(self.convolutions) - 1
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            inner = norm(convolution(inner))
            if number < last:
                inner = functional.relu(inner)
        return functional.relu(inner + self.shortcut(images))


class ResNet(nn.Module):
    """A stem, residual blocks, and a linear head over the mean of all places."""

    def __init__(
        self, *, outputs: int, depth: int, width: int, small: bool, norm: Normalization, restore: bool
    ) -> None:
        """Build the network; `blocks` lists all residual blocks in order."""
        super().__init__()
        bottleneck = depth in _BOTTLENECK
        self.normalize = StandardizePixels()
        stem = [_convolution(3, width, 3, 1) if small else _convolution(3, width, 7, 2), norm(width), nn.ReLU()]
        self.stem = nn.Sequential(*stem, *([] if small else [nn.MaxPool2d(3, 2, padding=1)]))
        self.blocks = nn.ModuleList()
        channels = width
        for stage, count in enumerate(_STAGES[depth]):
            inner = width << stage
            for number in range(count):
                stride = 2 if stage and not number else 1
                self.blocks.append(ResidualBlock(channels, inner, stride, norm, bottleneck=bottleneck))
                channels = inner * (_EXPANSION if bottleneck else 1)
        self.head = nn.Linear(channels, outputs)
        self.restore: nn.Module = Restore(outputs) if restore else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels `[n, 3, height, width]`, uint8 or float from 0 to 255, to scores `[n, outputs]`."""
        images = self.stem(self.normalize(pixels))
        for block in self.blocks:
            images = block(images)
        answers: Tensor = self.restore(self.head(images.mean(dim=(2, 3))))
        return answers


def resnet(
    *,
    outputs: int,
    height: int,
    width: int,
    depth: int = 18,
    filters: int = 64,
    norm: str = "group",
    restore: bool = False,
) -> nn.Module:
    """Map pixels `[n, 3, height, width]` to `[n, outputs]`.

    Args:
        outputs: classes, or 1 for a regression.
        height: of the images, in pixels.
        width: of the images, in pixels; with `height` it decides on the stem.
        depth: 18, 34 or 50 layers.
        filters: of the first stage, a multiple of 8; each later stage has twice as many.
        norm: `group`, or `batch`, whose statistics are those of each rank's micro-batch.
        restore: whether outputs leave in the units of the target.

    Raises:
        ConfigError: a depth, number of filters or normalisation that there is not.
    """
    if depth not in _STAGES:
        raise ConfigError(f"depth is {depth}, expected one of: {', '.join(map(str, _STAGES))}. Change 'depth'.")
    if filters < _MULTIPLE or filters % _MULTIPLE:
        raise ConfigError(f"filters is {filters}, expected a multiple of {_MULTIPLE}. Change 'filters'.")
    if norm not in _NORMS:
        raise ConfigError(f"norm is {norm!r}, expected one of: {', '.join(_NORMS)}. Change 'norm'.")
    return ResNet(
        outputs=outputs,
        depth=depth,
        width=filters,
        small=max(height, width) <= SMALL,
        norm=_NORMS[norm],
        restore=restore,
    )


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _groups(channels: int) -> nn.Module:
    """Return the paper's 32 groups, or fewer where they would have less than four channels."""
    return nn.GroupNorm(math.gcd(_GROUPS, channels // 4), channels)


_NORMS: dict[str, Normalization] = {"group": _groups, "batch": nn.BatchNorm2d}
