import pytest
from twofold.train.host_memory import MemoryWatch


@pytest.fixture
def cgroup(tmp_path):
    """cgroup(used, kills) -> write what the kernel says of a limit of 100 MB."""

    def write(megabytes, kills=0):
        (tmp_path / "memory.max").write_text("100000000\n")
        (tmp_path / "memory.current").write_text(f"{megabytes}000000\n")
        (tmp_path / "memory.stat").write_text("file 10000000\nshmem 6000000\ninactive_file 0\n")
        (tmp_path / "memory.events").write_text(f"oom_kill {kills}\n")
        return tmp_path

    return write


def test_it_warns_once_with_what_holds_the_memory(cgroup, caplog):
    watch = MemoryWatch(cgroup(50))
    watch.look()
    assert not caplog.records
    cgroup(95)
    watch.look()
    watch.look()
    (record,) = caplog.records
    text = record.getMessage()
    assert "host memory is nearly full: 95% of 0.1 GB were in use: " in text
    assert "(pid " in text
    assert "/dev/shm 0.0 GB, page cache 0.0 GB." in text
    assert "Lower 'batch_size'" in text


def test_it_warns_again_after_memory_was_free(cgroup, caplog):
    watch = MemoryWatch(cgroup(95))
    for megabytes in (95, 85, 95, 50, 95):
        cgroup(megabytes)
        watch.look()
    assert len(caplog.records) == 2


def test_the_outcome_has_the_kills_of_this_run_and_the_fullest_moment(cgroup):
    watch = MemoryWatch(cgroup(50, kills=3))
    assert (watch.outcome().kills, watch.outcome().peak) == (0, "")
    cgroup(97, kills=4)
    watch.look()
    cgroup(92, kills=4)
    watch.look()
    assert watch.outcome().kills == 1
    assert watch.outcome().peak.startswith("97% of 0.1 GB were in use: ")


def test_a_kernel_that_tells_nothing_is_no_shortage(tmp_path):
    watch = MemoryWatch(tmp_path, tmp_path)
    watch.look()
    assert (watch.outcome().kills, watch.outcome().peak) == (0, "")
