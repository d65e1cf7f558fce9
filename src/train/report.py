"""`report.html`: one page on a run in output data, for whoever opens the archive: curves, results, settings, machine.

Everything is in the page: it opens without network, and in a mail.
"""

import html
import logging
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..contract.job import TrainingJob
from ..contract.metrics import DATA_WAIT, GPU_MEMORY, RUNNING_LOSS, SPEED
from . import history
from .charts import Points, line_chart
from .config import TrainingConfig
from .ranks import Ranks

log = logging.getLogger(__name__)

REPORT = "report.html"
_LIBRARIES = ("torch", "numpy", "safetensors", "onnxruntime")
_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 1360px; padding: 24px; color: #0f172a; background: #f8fafc;
       font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 17px; margin: 28px 0 10px; }
p { margin: 4px 0 18px; color: #475569; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; }
.card { background: #fff; border: 1px solid #e2e8f0; border-radius: 8px; padding: 10px 16px; }
.card b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; } .card span { color: #475569; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(560px, 100%), 1fr)); gap: 12px; }
.chart { background: #fff; border: 1px solid #e2e8f0; border-radius: 8px; padding: 4px; }
.chart svg { display: block; width: 100%; height: auto; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 12px; }
table { border-collapse: collapse; width: 100%; background: #fff; border: 1px solid #e2e8f0; }
td { border-top: 1px solid #e2e8f0; padding: 4px 12px; overflow-wrap: anywhere; } td:first-child { color: #475569; }
tr.set td { font-weight: 600; color: #0f172a; }
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the page says beside the records of the run."""

    job: TrainingJob
    config: TrainingConfig
    ranks: Ranks
    task: str
    data: str
    """What was trained on, e.g. `1437 samples of rows of 64 numbers`."""
    metrics: Mapping[str, float]
    """Metrics of the weights in the artifact."""
    steps: int
    parameters: int
    """Numbers that the model has learned."""


def write_report(folder: Path, facts: Facts) -> None:
    """Write the page from the records that the run has left in the folder; a full disk costs the page, not the job."""
    epochs, steps = history.read(folder, history.HISTORY), history.read(folder, history.STEPS)
    text = _page(facts, epochs, _charts(epochs, steps))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT).write_text(text, encoding="utf-8")
    except OSError as error:
        log.warning("%s cannot be written: %s", folder / REPORT, error)


def _page(facts: Facts, epochs: Sequence[Mapping[str, Any]], charts: Iterable[str]) -> str:
    config, ranks = facts.config, facts.ranks
    title = facts.job.name or f"{config.model}, {facts.task}"
    cards = {name: f"{value:.5g}" for name, value in facts.metrics.items()}
    cards |= {"steps": f"{facts.steps:,}", "parameters": f"{facts.parameters:,}"}
    if epochs:
        cards |= {"samples a second, last epoch": f"{epochs[-1].get(SPEED, 0):,.0f}"}
    ending = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    shared = f"{ranks.world} processes on {len(facts.job.cluster.hosts)} hosts" if ranks.world > 1 else "1 process"
    lead = f"{config.model} for {facts.task}, trained on {facts.data} by {shared}, ended {ending}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>",
            '<div class="cards">',
            *(
                f'<div class="card"><b>{value}</b><span>{html.escape(name)}</span></div>'
                for name, value in cards.items()
            ),
            '</div><h2>Curves</h2><div class="charts">',
            *(f'<div class="chart">{chart}</div>' for chart in charts),
            '</div><div class="tables"><section><h2>Settings (bold: set by the job)</h2>',
            _table(_set_first(config), bold=config.model_fields_set),
            "</section><section><h2>Environment</h2>",
            _table(_environment(facts)),
            "</section></div></body></html>\n",
        ]
    )


def _charts(epochs: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Draw each metric with its channels in one chart, then single steps, then the speed of the run."""
    found = {name for record in epochs for name in record if ":" in name}
    kinds = list(dict.fromkeys(["loss", *sorted(name.partition(":")[2] for name in found)]))
    for kind in kinds:
        names = [name for name in (f"train:{kind}", f"validation:{kind}") if name in found]
        if names:
            title = kind if len(names) > 1 else names[0]
            yield line_chart(title, {name: _points(epochs, "epoch", name) for name in names}, x_title="epoch")
    if steps:
        yield line_chart("loss of single batches", {"": _points(steps, "step", RUNNING_LOSS)}, x_title="step")
        speed = {"": _points(steps, "step", SPEED)}
        yield line_chart("samples a second, all ranks", speed, x_title="step", from_zero=True)
        waits = {"": [(step, 100 * share) for step, share in _points(steps, "step", DATA_WAIT)]}
        yield line_chart("% of the time waited for data", waits, x_title="step", from_zero=True)
    if memory := _points(epochs, "epoch", GPU_MEMORY):
        yield line_chart("most GPU memory, GiB", {"": memory}, x_title="epoch", from_zero=True)


def _points(records: Sequence[Mapping[str, Any]], x: str, y: str) -> Points:
    return [(record[x], record[y]) for record in records if y in record]


def _environment(facts: Facts) -> dict[str, str]:
    job, ranks = facts.job, facts.ranks
    cuda = ranks.device.type == "cuda"
    return {
        "instance type": job.cluster.instance_type,
        "hosts": ", ".join(job.cluster.hosts),
        "processes a host": str(ranks.local_world),
        "device": torch.cuda.get_device_name(ranks.device) if cuda else f"CPU, {platform.machine()}",
        "cores this process may use": str(len(os.sched_getaffinity(0))),
        "threads a process": str(torch.get_num_threads()),
        **{f"channel {name}": f"{item.mode} mode, {item.path}" for name, item in job.channels.items()},
        "Twofold": __version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
        "system": platform.platform(),
    }


def _set_first(config: TrainingConfig) -> dict[str, Any]:
    """Return all settings, those that the job has set before the others."""
    return dict(sorted(config.model_dump().items(), key=lambda item: item[0] not in config.model_fields_set))


def _table(values: Mapping[str, Any], bold: Iterable[str] = ()) -> str:
    marked = set(bold)
    rows = (
        f"<tr{' class=set' if name in marked else ''}><td>{html.escape(name)}</td>"
        f"<td>{html.escape(str(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(rows)}</table>"
