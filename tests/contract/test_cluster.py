import socket

import pytest
from twofold.contract.cluster import Cluster, InstanceGroup, read_cluster
from twofold.errors import ConfigError

HETEROGENEOUS = {
    "current_host": "algo-3",
    "current_instance_type": "ml.c5.9xlarge",
    "current_group_name": "data_group",
    "hosts": ["algo-1", "algo-2", "algo-3"],
    "network_interface_name": "eth0",
    "instance_groups": [
        {"instance_group_name": "dnn_group", "instance_type": "ml.p4d.24xlarge", "hosts": ["algo-2", "algo-1"]},
        {"instance_group_name": "data_group", "instance_type": "ml.c5.9xlarge", "hosts": ["algo-3"]},
    ],
    "topology": None,
    "something_new": 1,
}


def test_heterogeneous_cluster(tree):
    cluster = read_cluster(tree.cluster(HETEROGENEOUS), interfaces=["lo", "eth0"])
    assert cluster == Cluster(
        hosts=("algo-1", "algo-2", "algo-3"),
        current_host="algo-3",
        interface="eth0",
        instance_type="ml.c5.9xlarge",
        group="data_group",
        groups=(
            InstanceGroup(name="dnn_group", instance_type="ml.p4d.24xlarge", hosts=("algo-2", "algo-1")),
            InstanceGroup(name="data_group", instance_type="ml.c5.9xlarge", hosts=("algo-3",)),
        ),
    )
    assert (cluster.rank, cluster.size, cluster.master, cluster.is_master) == (2, 3, "algo-1", False)


@pytest.mark.parametrize(
    ("host", "rank"), [("algo-1", 0), ("algo-10", 1), ("algo-12", 3), ("algo-2", 4), ("algo-9", 11)]
)
def test_ranks_of_twelve_hosts_follow_the_text_order(tree, host, rank):
    hosts = sorted(f"algo-{number}" for number in range(1, 13))
    cluster = read_cluster(tree.cluster({"current_host": host, "hosts": hosts}), interfaces=[])
    assert cluster.rank == rank
    assert cluster.master == "algo-1"


def test_hosts_out_of_order_are_sorted_so_that_all_hosts_agree(tree):
    cluster = read_cluster(tree.cluster({"current_host": "b", "hosts": ["b", "a"]}), interfaces=[])
    assert (cluster.hosts, cluster.rank, cluster.master) == (("a", "b"), 1, "a")


def test_without_the_file_there_is_one_host(tree):
    cluster = read_cluster(tree.paths.resource_config)
    assert (cluster.hosts, cluster.rank, cluster.size, cluster.interface) == (("localhost",), 0, 1, None)
    assert cluster.is_master


def test_local_mode_has_no_groups(tree):
    path = tree.cluster(
        {
            "current_host": "algo-2-x7f3a",
            "hosts": ["algo-1-q0w9e", "algo-2-x7f3a"],
            "network_interface_name": "ethwe",
            "current_instance_type": "local",
        }
    )
    cluster = read_cluster(path, interfaces=["lo", "eth0"])
    assert (cluster.rank, cluster.interface, cluster.groups, cluster.group) == (1, None, (), "homogeneousCluster")


def test_the_file_of_a_processing_job_is_read_alike(tree):
    content = {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]}
    path = tree.write(tree.paths.processing_resource_config, content)
    assert path == tree.paths.base / "config" / "resourceconfig.json"
    assert read_cluster(path).size == 2


def test_interfaces_of_this_machine_are_the_default(tree):
    present = socket.if_nameindex()[0][1]
    assert read_cluster(tree.cluster({"hosts": ["a"], "network_interface_name": present})).interface == present
    assert read_cluster(tree.cluster({"hosts": ["a"], "network_interface_name": "nowhere9"})).interface is None


@pytest.mark.parametrize(
    ("content", "hosts", "current"),
    [
        ({}, ("localhost",), "localhost"),
        ({"hosts": ["a"]}, ("a",), "a"),
        ({"current_host": "a"}, ("a",), "a"),
        ({"current_host": "a", "hosts": None}, ("a",), "a"),
    ],
)
def test_one_host_may_be_told_by_halves(tree, content, hosts, current):
    cluster = read_cluster(tree.cluster(content))
    assert (cluster.hosts, cluster.current_host) == (hosts, current)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"current_host": "c", "hosts": ["a", "b"]}, "current_host is 'c', hosts are a, b. Expected"),
        ({"hosts": ["a", "b"]}, "current_host is None"),
        ({"current_host": "a", "hosts": ["a", "a"]}, "hosts is .* Expected every host once"),
        ({"current_host": "a", "hosts": "a"}, 'hosts is "a". Expected a list'),
        ({"current_host": "a", "hosts": ["a", 1]}, "hosts is .* Expected a list of host names"),
        ({"current_host": 1, "hosts": ["a"]}, "current_host is 1. Expected a string"),
        ({"hosts": ["a"], "network_interface_name": 0}, "network_interface_name is 0"),
        ({"hosts": ["a"], "instance_groups": {}}, "instance_groups is {}"),
        ({"hosts": ["a"], "instance_groups": [None]}, r"instance_groups\[0\] is null. Expected an object"),
        ({"hosts": ["a"], "instance_groups": [{"hosts": [""]}]}, r"instance_groups\[0\]\.hosts"),
    ],
)
def test_broken_field_is_named(tree, content, message):
    with pytest.raises(ConfigError, match=rf"resourceconfig\.json: {message}"):
        read_cluster(tree.cluster(content), interfaces=[])
