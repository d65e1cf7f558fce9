import re

import pytest
from twofold.contract.logs import metric_line
from twofold.contract.metrics import RUN, TASKS, definitions, names


@pytest.mark.parametrize("task", TASKS)
def test_every_definition_finds_its_number_in_a_line(task):
    values = {name: number + 0.5 for number, name in enumerate([*names(task), *RUN])}
    line = f"2026-01-01 INFO train.metrics: epoch=3 step=9 {metric_line(values)}"
    found = {item["Name"]: re.search(item["Regex"], line) for item in definitions(task)}
    assert {name: float(match[1]) for name, match in found.items()} == values


def test_all_tasks_together_are_what_a_job_may_define():
    every = definitions()
    assert len({item["Name"] for item in every}) == len(every) <= 40, "the platform takes at most 40"


def test_a_metric_is_on_the_validation_channel_too():
    assert names("regression") == [
        *("train:loss", "train:rmse"),
        *("validation:loss", "validation:rmse", "validation:mae"),
    ]
