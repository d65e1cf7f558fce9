import sys
from pathlib import Path

import pytest
from twofold.contract import network
from twofold.contract.cluster import Cluster
from twofold.contract.hyperparameters import Hyperparameters
from twofold.contract.job import TrainingJob
from twofold.contract.paths import Paths
from twofold.errors import ConfigError, NetworkError
from twofold.train.config import TrainingConfig
from twofold.train.launch import plan_launch, processes_per_host, wait_for_hosts

TWO = Cluster(hosts=("a-host", "b-host"), current_host="b-host", interface="eth7")


def job(cluster=None, **framework):
    return TrainingJob(
        paths=Paths(Path("/nowhere")),
        cluster=cluster or Cluster(),
        hyperparameters=Hyperparameters(framework=framework),
    )


def launch(cluster=None, *, cpus=4, gpus=0, environ=None, **settings):
    return plan_launch(
        job(cluster), TrainingConfig(**settings), environ or {}, cpus=cpus, gpus=gpus, directory=Path("/scratch")
    )


@pytest.mark.parametrize(
    ("asked", "of_toolkit", "gpus", "expected"),
    [(0, None, 0, 1), (0, None, 8, 8), (2, None, 8, 2), (0, 4, 8, 4), (3, 4, 8, 3), (0, "four", 8, 8)],
)
def test_processes_are_as_asked_for_else_one_a_gpu(asked, of_toolkit, gpus, expected):
    framework = {} if of_toolkit is None else {"sagemaker_mpi_num_of_processes_per_host": of_toolkit}
    assert processes_per_host(job(**framework), asked, gpus) == expected


def test_one_host_meets_on_loopback_at_any_free_port():
    found = launch(processes_per_host=2)
    assert found.argv == [sys.executable, "-P", "-m", "twofold.train.starter", "-m", "twofold.train.program"]
    assert {name: found.environ[name] for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK")} == {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
    }
    assert (found.environ["MASTER_ADDR"], found.environ["MASTER_PORT"]) == ("127.0.0.1", "0")
    assert found.environ["GLOO_SOCKET_IFNAME"] == "lo"


def test_several_hosts_meet_at_the_first_by_name():
    found = launch(TWO)
    assert (found.environ["MASTER_ADDR"], found.environ["MASTER_PORT"]) == ("a-host", "7777")
    assert (found.environ["GROUP_RANK"], found.environ["WORLD_SIZE"]) == ("1", "2")
    assert found.environ["GLOO_SOCKET_IFNAME"] == found.environ["NCCL_SOCKET_IFNAME"] == "eth7"


def test_where_the_named_interface_is_not_there_the_way_to_another_host_is_taken():
    found = launch(Cluster(hosts=("127.0.0.1", "localhost"), current_host="localhost")).environ
    assert found["GLOO_SOCKET_IFNAME"] == found["NCCL_SOCKET_IFNAME"] == "lo"


def test_without_a_way_the_interface_is_left_to_gloo():
    cluster = Cluster(hosts=("a.invalid", "b.invalid"), current_host="a.invalid")
    assert "GLOO_SOCKET_IFNAME" not in launch(cluster).environ


@pytest.mark.parametrize(("missing", "provider"), [([], "efa"), (["/opt/amazon/efa"], None)])
def test_efa_is_used_where_the_adapter_and_its_libraries_are(monkeypatch, missing, provider):
    monkeypatch.setattr(network, "efa_devices", lambda: ["rdmap0"])
    monkeypatch.setattr(network, "efa_missing", lambda: missing)
    assert launch(TWO).environ.get("FI_PROVIDER") == provider
    assert "FI_PROVIDER" not in launch().environ


def test_the_users_own_fabric_wins():
    assert launch(TWO, environ={"NCCL_SOCKET_IFNAME": "mine"}).environ["NCCL_SOCKET_IFNAME"] == "mine"


@pytest.mark.parametrize(("cpus", "processes", "threads"), [(8, 2, "4"), (1, 2, "1"), (7, 2, "3"), (4, 1, "4")])
def test_ranks_share_the_cores(cpus, processes, threads):
    assert launch(cpus=cpus, processes_per_host=processes).environ["OMP_NUM_THREADS"] == threads


def test_the_users_environment_is_handed_on_and_wins():
    found = launch(environ={"OMP_NUM_THREADS": "3", "MINE": "x", "PYTHONSAFEPATH": ""})
    assert (found.environ["OMP_NUM_THREADS"], found.environ["MINE"]) == ("3", "x")
    assert found.environ["PYTHONSAFEPATH"] == "1"


def test_more_ranks_than_samples_in_a_batch_are_refused():
    assert launch(TWO, batch_size=4, processes_per_host=2)
    with pytest.raises(ConfigError, match=r"batch_size is 3, over 4 ranks \(2 hosts x 2 processes\).*raise"):
        launch(TWO, batch_size=3, processes_per_host=2)


def test_parallel_none_is_for_one_rank():
    assert launch(parallel="none")
    with pytest.raises(ConfigError, match="parallel is 'none' on 2 ranks"):
        launch(parallel="none", processes_per_host=2)


def test_names_are_waited_for_with_growing_pauses():
    pauses, answers = [], iter([False, False, True, True])

    def resolve(_host):
        if not next(answers):
            raise OSError(-2, "Name or service not known")

    wait_for_hosts(["a", "b"], resolve=resolve, wait=pauses.append)
    assert pauses == [0.1, 0.2]


def test_a_name_that_never_resolves_ends_the_wait():
    def resolve(_host):
        raise OSError(-2, "Name or service not known")

    with pytest.raises(NetworkError, match=r"Host 'algo-7' did not resolve within 0 s .*security group"):
        wait_for_hosts(["algo-7"], timeout_s=0, resolve=resolve)
