"""Names of everything that `train` measures: what its lines say, and what a job's MetricDefinitions look for.

    epoch=3 step=120 train:loss=0.31 train:accuracy=0.9 validation:loss=0.4 ... samples_per_second=5123 data_wait=0.02

Lines and definitions come from the same names, so a definition always finds its number.
"""

from .artifact import Task
from .logs import metric_regex

TASKS: dict[Task, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "classification": (("loss", "accuracy"), ("f1", "auc")),
    "regression": (("loss", "rmse"), ("mae",)),
    "language-modelling": (("loss", "perplexity", "accuracy"), ()),
}
"""Metrics of each task, on both channels, and those of the validation channel only."""
SPEED = "samples_per_second"
DATA_WAIT = "data_wait"
GPU_MEMORY = "gpu_memory_gib"
SECONDS_LEFT = "seconds_left"
RUNNING_LOSS = "running:loss"
RUN = {
    SPEED: "samples over all ranks in a second",
    DATA_WAIT: "share of the time that the first rank waited for data, 0 to 1",
    GPU_MEMORY: "most memory that tensors have held on the first rank's GPU",
    SECONDS_LEFT: "estimate, evaluations included; the most that is left where `patience` may end the run",
    RUNNING_LOSS: "loss of the first rank's share of one batch, while an epoch runs",
}
"""What is measured of every run, and what it means."""


def names(task: Task) -> list[str]:
    """Names of the metrics of a task as lines have them, with their channel."""
    both, validation = TASKS[task]
    return [f"train:{name}" for name in both] + [f"validation:{name}" for name in (*both, *validation)]


def definitions(*tasks: Task) -> list[dict[str, str]]:
    """MetricDefinitions of a job for these tasks, or for all; what a run does not measure is never found."""
    chosen = [name for task in tasks or TASKS for name in names(task)]
    return [{"Name": name, "Regex": metric_regex(name)} for name in dict.fromkeys([*chosen, *RUN])]
