from twofold.train.pulse import PulseWriter, read_pulses


def test_the_parent_reads_what_was_said_last(tmp_path):
    first, second = PulseWriter(tmp_path, 0), PulseWriter(tmp_path, 11)
    assert read_pulses(tmp_path) == {}
    second.started(7)
    assert [*read_pulses(tmp_path)] == [11]
    first.started(5)
    before = read_pulses(tmp_path)
    assert [(rank, pulse.pid) for rank, pulse in before.items()] == [(0, 5), (11, 7)]
    first.heard()
    after = read_pulses(tmp_path)
    assert after[0].heard > before[0].heard
    assert after[11] == before[11]


def test_a_file_that_is_being_made_is_left_out(tmp_path):
    (tmp_path / "rank-3.pulse").write_bytes(b"")
    assert read_pulses(tmp_path) == {}
