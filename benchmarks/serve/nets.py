"""The models that every server gets, in plain PyTorch: an MLP, a ResNet-18 for 3 x 64 x 64, an encoder of 64 tokens."""

import torch
from torch import Tensor, nn

VOCABULARY, TOKENS, DIMENSIONS = 1000, 64, 256


def mlp() -> nn.Module:
    """Map `[n, 64]` to 10 scores."""
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


class Block(nn.Module):
    """Two convolutions of 3 x 3 beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Map `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`."""
        inner = torch.relu(self.norms[0](self.first(images)))
        return torch.relu(self.norms[1](self.second(inner)) + self.shortcut(images))


def cnn() -> nn.Module:
    """Map `[n, 3, 64, 64]` to 10 scores: ResNet-18 with the stem of the paper."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage in range(4):
        for number in range(2):
            layers.append(Block(channels, 64 << stage, 2 if stage and not number else 1))
            channels = 64 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class Encoder(nn.Module):
    """Embedding, position, four layers with self-attention, the mean, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, DIMENSIONS)
        self.position = nn.Parameter(0.02 * torch.randn(TOKENS, DIMENSIONS))
        layer = nn.TransformerEncoderLayer(
            DIMENSIONS, 8, 4 * DIMENSIONS, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(DIMENSIONS, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `[n, 64]` of whole numbers to 10 scores."""
        return self.head(self.layers(self.embedding(tokens) + self.position).mean(1))


def encoder() -> nn.Module:
    """Map `[n, 64]` tokens to 10 scores."""
    return Encoder()


NETS = {"mlp": mlp, "cnn": cnn, "encoder": encoder}
SHAPES = {"mlp": (64,), "cnn": (3, 64, 64), "encoder": (TOKENS,)}
DTYPES = {"mlp": "float32", "cnn": "float32", "encoder": "int64"}
