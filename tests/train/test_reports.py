from twofold.train.reports import Report, first, write


def test_no_report_is_none(tmp_path):
    assert first(tmp_path) is None


def test_a_report_comes_back(tmp_path):
    write(tmp_path, Report("rank 1", "data: é", 3))
    found = first(tmp_path)
    assert (found.source, found.message, found.exit_code, found.peer) == ("rank 1", "data: é", 3, False)


def test_the_earliest_wins(tmp_path):
    for rank in (2, 0, 1):
        write(tmp_path, Report(f"rank {rank}", "", 1))
    assert first(tmp_path).source == "rank 2"


def test_a_cause_beats_an_earlier_consequence(tmp_path):
    write(tmp_path, Report("rank 0", "connection closed", 1, peer=True))
    write(tmp_path, Report("agent of rank 1", "killed", 137))
    assert first(tmp_path).source == "agent of rank 1"


def test_half_a_report_is_none(tmp_path):
    (tmp_path / "rank-0.partial").write_text('{"sour')
    assert first(tmp_path) is None
