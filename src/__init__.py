"""Twofold: one container image that trains and serves PyTorch models on Amazon SageMaker and on a laptop."""

__version__ = "0.1.0"
