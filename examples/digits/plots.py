"""The plots of the demo: loss over epochs and a confusion matrix."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("agg")
from matplotlib import pyplot as plt


def loss(history: Path, target: Path) -> None:
    """Plot losses and accuracy over epochs from the job's `metrics.jsonl`."""
    epochs = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    number = [epoch["epoch"] for epoch in epochs]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for channel, color in (("train", "tab:blue"), ("validation", "tab:orange")):
        left.plot(number, [epoch[f"{channel}:loss"] for epoch in epochs], color=color, label=channel)
        right.plot(number, [epoch[f"{channel}:accuracy"] for epoch in epochs], color=color, label=channel)
    left.set(title="Loss", xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log")
    right.set(title="Accuracy", xlabel="epoch", ylabel="share of digits right")
    for axes in (left, right):
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    _save(figure, target)


def confusion(labels: np.ndarray, predicted: np.ndarray, target: Path) -> None:
    """Plot how often each digit `[n]` was taken for each."""
    matrix = np.zeros((10, 10), dtype=int)
    np.add.at(matrix, (labels, predicted), 1)
    figure, axes = plt.subplots(figsize=(6, 5.4), layout="constrained")
    axes.imshow(matrix, cmap="Blues")
    for row, column in np.argwhere(matrix):
        color = "white" if matrix[row, column] > matrix.max() / 2 else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color)
    axes.set(
        title=f"{np.trace(matrix)} of {len(labels)} held-out digits right",
        xlabel="answer of the endpoint",
        ylabel="truth",
        xticks=range(10),
        yticks=range(10),
    )
    _save(figure, target)


def _save(figure: plt.Figure, target: Path) -> None:
    figure.savefig(target, dpi=110)
    plt.close(figure)
    print(f"wrote {target}")
