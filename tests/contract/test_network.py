import socket

import pytest
from twofold.contract.network import efa_devices, efa_missing, interfaces, leads_to


def test_loopback_is_an_interface_with_an_address():
    found = {one.name: one for one in interfaces()}
    assert set(found) == {name for _, name in socket.if_nameindex()}
    assert found["lo"].address == "127.0.0.1"
    assert found["lo"].megabits is None


def test_the_speed_is_the_drivers(tmp_path):
    (tmp_path / "net" / "lo").mkdir(parents=True)
    (tmp_path / "net" / "lo" / "speed").write_text("25000\n")
    assert {one.name: one for one in interfaces(tmp_path)}["lo"].megabits == 25000
    (tmp_path / "net" / "lo" / "speed").write_text("-1\n")
    assert {one.name: one for one in interfaces(tmp_path)}["lo"].megabits is None


def test_the_way_to_a_host():
    assert leads_to("127.0.0.1") == "lo"
    assert leads_to("nowhere.invalid") is None


@pytest.fixture
def adapters(tmp_path):
    """Two adapters of which one is EFA, as sysfs and /dev show them."""
    for name, driver in (("rdmap0", "efa"), ("mlx5_0", "mlx5_core")):
        (tmp_path / "drivers" / driver).mkdir(parents=True)
        (tmp_path / "sys" / "infiniband" / name / "device").mkdir(parents=True)
        (tmp_path / "sys" / "infiniband" / name / "device" / "driver").symlink_to(tmp_path / "drivers" / driver)
    (tmp_path / "dev").mkdir()
    return tmp_path


def test_efa_is_known_by_its_driver_and_only_with_a_device_file(adapters):
    assert efa_devices(adapters / "dev", adapters / "sys") == []
    (adapters / "dev" / "uverbs0").touch()
    assert efa_devices(adapters / "dev", adapters / "sys") == ["rdmap0"]
    assert efa_devices(adapters / "dev", adapters / "nothing") == []


def test_libraries_that_are_not_there(tmp_path):
    assert efa_missing((tmp_path, tmp_path / "efa")) == [str(tmp_path / "efa")]
