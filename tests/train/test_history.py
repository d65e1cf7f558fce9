import pytest
from twofold.train import history


def test_history_goes_on_after_the_step_resumed_from(tmp_path):
    folder = tmp_path / "data"
    history.start(folder, 0)
    for name in (history.HISTORY, history.STEPS):
        for step in (4, 8, 12):
            history.append(folder, name, {"step": step, "train:loss": 1 / step})
    history.start(folder, 9)
    history.append(folder, history.HISTORY, {"step": 12, "train:loss": 0.25})
    assert [record["step"] for record in history.read(folder, history.HISTORY)] == [4, 8, 12]
    assert history.read(folder, history.HISTORY)[-1]["train:loss"] == 0.25
    assert [record["step"] for record in history.read(folder, history.STEPS)] == [4, 8]


@pytest.mark.parametrize("step", [0, 5])
def test_no_history_yet_is_fine(tmp_path, step):
    history.start(tmp_path, step)
    assert list(tmp_path.iterdir()) == []
    assert history.read(tmp_path, history.HISTORY) == []
