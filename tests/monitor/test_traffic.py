"""Lines summed up by the hour; answers in all their forms; parts of hosts merged."""

import json

import numpy as np
import pytest
from twofold.monitor.align import Alignment
from twofold.monitor.answers import read_answers
from twofold.monitor.capture import Kind, Window, read_captured
from twofold.monitor.payloads import Reader
from twofold.monitor.traffic import Traffic, read_traffic


def answers(content_type, body):
    (rows,) = Reader(lambda _place, _width: None).read(Kind(content_type, "JSON"), [body])
    return read_answers(rows)


@pytest.mark.parametrize(
    ("content_type", "body", "prediction", "probability"),
    [
        ("text/csv", "0.25\n0.5\n", [0.25, 0.5], None),
        ("text/csv", "0.9,0.1\n0.2,0.8\n", [0, 1], [0.9, 0.8]),
        ("application/json", '{"predictions": [1.5, 2.5]}', [1.5, 2.5], None),
        ("application/json", '{"predictions": [[0.9, 0.1]], "labels": ["cat"]}', ["cat"], [0.9]),
        ("application/jsonlines", '{"prediction": [0.1, 0.9], "label": 7}\n', [7], [0.9]),
        ("application/jsonlines", '{"prediction": 3.5}\n', [3.5], None),
        ("application/json", '["cat", "dog"]', ["cat"], None),
    ],
)
def test_answers(content_type, body, prediction, probability):
    block = answers(content_type, body).block()
    assert block["prediction"].tolist()[: len(prediction)] == prediction
    if probability is not None:
        assert block["probability"].tolist() == probability
    else:
        assert "probability" not in block


def test_hours_merge_as_if_one_host_had_read_all(traffic):
    rng = np.random.default_rng(1)
    for hour in (13, 14):
        for name in "abc":
            rows = rng.normal(size=(40, 3)).round(5).tolist()
            time = f"2026-11-25T{hour}:30:00Z"
            lines = [traffic.line(",".join(map(str, row)), "0.5", time=time) for row in rows]
            traffic.write(f"2026-11-25T{hour}", [*lines, "{"], f"{name}.jsonl")
    one = read_traffic(read_captured(traffic.folder, Window()), Alignment())
    merged = Traffic()
    for part in range(2):
        share = read_traffic(read_captured(traffic.folder, Window(), part=part, parts=2), Alignment())
        merged.merge(Traffic.from_json(json.loads(json.dumps(share.to_json()))))
    assert sorted(one.hours) == sorted(merged.hours) == ["2026-11-25T13", "2026-11-25T14"]
    assert (one.lines, one.malformed) == (merged.lines, merged.malformed) == (240, 6)
    first, second = one.whole(), merged.whole()
    assert first.rows == second.rows == 240
    assert set(first.features) == {"_c0", "_c1", "_c2", "prediction"}
    for name, feature in first.features.items():
        assert second.features[name].numbers.moments.mean == pytest.approx(feature.numbers.moments.mean)
