"""Optimizer and course of the learning rate."""

import math

from torch import nn
from torch.optim import AdamW, Optimizer

from .config import TrainingConfig


def build_optimizer(module: nn.Module, config: TrainingConfig) -> Optimizer:
    """Return AdamW (Loshchilov and Hutter, arXiv:1711.05101) with fused updates.

    Weights decay, biases and the gains of normalisations do not: they are few, and at zero they are not simpler.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in trained if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate, fused=True)


def learning_rate(step: int, config: TrainingConfig, total_steps: int) -> float:
    """Learning rate of optimizer step `step`, counted from 0, of a run of `total_steps`.

    It rises linearly over `warmup_steps`, then stays, or falls linearly or along half a cosine to reach 0 where the run
    would take its next step.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - config.warmup_steps) / max(total_steps - config.warmup_steps, 1)
    if config.schedule == "linear":
        return config.learning_rate * max(1.0 - progress, 0.0)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def set_learning_rate(optimizer: Optimizer, value: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = value
