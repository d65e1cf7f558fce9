"""From a model's scores to the answers of an endpoint: the part that serving and the ONNX program share."""

import torch
from torch import Tensor, nn

from ..contract.artifact import Task


class Answers(nn.Module):
    """A model with what its task makes of its outputs at the end."""

    def __init__(self, module: nn.Module, task: Task) -> None:
        """Take a module as `load_module` gives it."""
        super().__init__()
        self.module, self.task = module, task

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows `[n, *shape]` to float32 answers.

        Probabilities `[n, classes]` (classification) or `[n, vocabulary]` of the token that follows the last one
        (language modelling), or one number each `[n]` (regression).
        """
        outputs: Tensor = self.module(rows).float()
        if self.task == "classification":
            return torch.softmax(outputs, dim=1)
        if self.task == "language-modelling":
            return torch.softmax(outputs[:, -1], dim=1)
        return outputs.squeeze(1)
