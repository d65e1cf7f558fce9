from pathlib import Path

from twofold.contract.endpoint import Endpoint
from twofold.contract.machine import cpus
from twofold.serve.gateway.limits import Limits
from twofold.serve.server import gunicorn_settings


def test_the_endpoint_decides_port_workers_and_time_out():
    values = gunicorn_settings(Endpoint(port=9090, workers=3, timeout=3600))
    assert values["bind"] == "0.0.0.0:9090"
    assert values["workers"] == 3
    assert values["timeout"] > 3600


def test_there_is_a_worker_for_each_cpu_unless_told_otherwise():
    assert gunicorn_settings(Endpoint())["workers"] == cpus()


def test_the_platforms_patience_is_kept():
    values = gunicorn_settings(Endpoint())
    assert values["graceful_timeout"] <= 25, "SIGKILL comes after 30 s"
    assert Limits(folder=Path()).idle >= 65, "the platform's proxy reuses connections"
    assert Limits(folder=Path()).drain < values["graceful_timeout"]
    assert values["worker_tmp_dir"] != "/dev/shm"
    assert values["control_socket_disable"] is True
