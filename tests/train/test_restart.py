"""Memory that runs out where peers wait inside of a model: all ranks begin again with less, and learn the same."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.procs

TRAIN = "twofold.train"
RUN = {
    "model": "gpt",
    "context": 16,
    "width": 32,
    "layers": 2,
    "heads": 4,
    "batch_size": 12,
    "epochs": 3,
    "max_steps": 8,
    "checkpoint_every": 2,
    "learning_rate": 0.01,
}
SHORT = Path(__file__).parents[1] / "scripts" / "short_of_memory"


def shortage(**short):
    return {"PYTHONPATH": str(SHORT), "SHORT": json.dumps(short), "OMP_NUM_THREADS": "1"}


def measured(paths):
    lines = (paths.output_data / "metrics.jsonl").read_text().splitlines()
    return [(record["step"], record["train:loss"], record["validation:loss"]) for record in map(json.loads, lines)]


def same_curve(run, expected):
    assert measured(run.paths) == [pytest.approx(record, rel=1e-4) for record in measured(expected)]


@pytest.fixture(scope="module")
def small(make_tree, prose):
    return make_tree(prose, **RUN, micro_batch_size=2)


def test_backward_pass_of_fsdp(make_tree, prose, run_verb, train_here, small):
    """The first three steps go well; a checkpoint is of the second."""
    train_here(small)
    paths = make_tree(prose, **RUN, parallel="fsdp", processes_per_host=2)
    run = run_verb(TRAIN, paths, environ=shortage(rank=1, most=2, place="backward", after=3 * RUN["layers"]))
    print(run.log)
    same_curve(run, small)
