"""Captured lines, whole and broken, inside and outside the window."""

import json

import pytest
from twofold.errors import ConfigError, DataError
from twofold.monitor.capture import UNKNOWN_HOUR, Window, read_captured, read_time


def read(folder, window=None, **share):
    """Bodies by hour and side, and how many lines and broken ones there were."""
    bodies, lines, malformed = {}, 0, 0
    for part in read_captured(folder, window or Window(), **share):
        for group, texts in part.bodies.items():
            bodies.setdefault((group.hour, group.side), []).extend(texts)
        lines, malformed = lines + part.lines, malformed + part.malformed
    return bodies, lines, malformed


def test_bodies_are_gathered_by_hour_and_side(traffic):
    traffic.write("2026-11-25T13", [traffic.line("1,2", "0.5"), traffic.line("3,4")])
    folder = traffic.write("2026-11-25T14", [traffic.line("5,6", time="2026-11-25T14:00:00Z")])
    assert read(folder) == (
        {
            ("2026-11-25T13", "input"): ["1,2", "3,4"],
            ("2026-11-25T13", "output"): ["0.5"],
            ("2026-11-25T14", "input"): ["5,6"],
        },
        3,
        0,
    )


def test_broken_lines_are_counted_and_left_out(traffic):
    good = traffic.line("1,2")
    broken = ["{", "[]", "null", json.dumps({"captureData": {}}) + good, json.dumps({"eventVersion": "0"})]
    nothing_sent = json.dumps({"captureData": {"endpointInput": {"data": "1", "mode": "INPUT"}}})
    folder = traffic.write("2026-11-25T13", [good, *broken, "", good, nothing_sent])
    bodies, lines, malformed = read(folder)
    assert bodies == {("2026-11-25T13", "input"): ["1,2", "1,2"]}
    assert (lines, malformed) == (2, 6)


def test_the_window_leaves_out_other_lines_and_files(traffic):
    times = ["2026-11-25T12:59:59Z", "2026-11-25T13:00:00Z", "2026-11-25T13:59:59.9Z", "2026-11-25T14:00:00Z"]
    for hour in ("2026-11-25T12", "2026-11-25T13", "2026-11-25T14", "2026-11-25T19"):
        traffic.write(hour, [traffic.line(time, time=time) for time in times])
    window = Window(read_time("start", "2026-11-25T13: 00: 00Z"), read_time("end", "2026-11-25T14:00:00Z"))
    bodies, lines, _ = read(traffic.folder, window)
    # Files of the hours 13 and 14 are opened, and have two lines each inside.
    assert lines == 4
    assert set(bodies) == {("2026-11-25T13", "input")}


def test_a_line_without_a_time_has_the_hour_of_its_folder(traffic, tmp_path):
    event = json.loads(traffic.line("1"))
    del event["eventMetadata"]
    traffic.write("2026-11-25T13", [json.dumps(event)])
    assert set(read(traffic.folder)[0]) == {("2026-11-25T13", "input")}
    (tmp_path / "a.jsonl").write_text(json.dumps(event))
    assert set(read(tmp_path / "a.jsonl")[0]) == {(UNKNOWN_HOUR, "input")}


def test_hosts_share_the_files(traffic):
    for name in "abcde":
        traffic.write("2026-11-25T13", [traffic.line(name)], f"{name}.jsonl")
    parts = [read(traffic.folder, part=part, parts=2)[0][("2026-11-25T13", "input")] for part in range(2)]
    assert sorted(parts[0] + parts[1]) == list("abcde")
    assert parts[0]
    assert parts[1]


def test_batches_and_ground_truth(traffic):
    event = json.loads(traffic.line("1,2", "0.5", truth="1"))
    event["captureData"] = {"batchTransformOutput": event["captureData"]["endpointOutput"]}
    folder = traffic.write("2026-11-25T13", [json.dumps(event), traffic.line("1,2", "0.6", truth="0")])
    (captured,) = read_captured(folder, Window())
    assert [(one.output, one.truth, one.truth_kind.content_type) for one in captured.labelled] == [
        ("0.5", "1", "text/csv"),
        ("0.6", "0", "text/csv"),
    ]


def test_what_is_no_folder_and_no_time_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        list(read_captured(tmp_path / "nowhere", Window()))
    with pytest.raises(ConfigError, match="start_time is 'yesterday'"):
        read_time("start_time", "yesterday")
    assert read_time("end_time", None) == ""
