"""Normalisation that travels with the weights, so that requests and answers hold raw values."""

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """Subtract the mean and divide by the standard deviation of the training data, feature by feature."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        """Start as the identity over rows of `features` values; `fit` gives the statistics."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Take statistics of shape `[features]`; a constant feature (std 0) is only shifted."""
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > 0, 1.0 / std, torch.ones_like(std)))

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows `[n, features]` to rows of mean 0 and standard deviation 1."""
        return (rows - self.mean) * self.scale


class StandardizePixels(nn.Module):
    """Bring the three channels of images to mean 0 and standard deviation 1 over the training data."""

    mean: Tensor
    scale: Tensor

    def __init__(self) -> None:
        """Start by mapping 0..255 to -1..1; `fit` gives the statistics."""
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 127.5))
        self.register_buffer("scale", torch.full((3, 1, 1), 1 / 127.5))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Take statistics `[3]` in units of 0..255; a constant channel (std 0) is only shifted."""
        self.mean.copy_(mean[:, None, None])
        self.scale.copy_(torch.where(std > 0, 1.0 / std, torch.ones_like(std))[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels `[n, 3, height, width]`, uint8 or float, to float32 of the same shape."""
        return (pixels.to(self.mean.dtype) - self.mean) * self.scale


class Restore(nn.Module):
    """Multiply by the standard deviation of the training targets and add their mean: the inverse at the other end."""

    mean: Tensor
    scale: Tensor

    def __init__(self, outputs: int) -> None:
        """Start as the identity over rows of `outputs` values; `fit` gives the statistics."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs))

    def fit(self, mean: float, std: float) -> None:
        """Take the statistics of the target; of a constant target (std 0) only the mean."""
        self.mean.fill_(mean)
        self.scale.fill_(std if std > 0 else 1.0)

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows `[n, outputs]` of mean 0 and standard deviation 1 to the units of the target."""
        return rows * self.scale + self.mean
