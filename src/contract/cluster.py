"""The hosts of a job, and which of them this one is.

Training reads `input/config/resourceconfig.json`, processing `config/resourceconfig.json`; the fields are the same.
Ranks follow the text order of the names, so with twelve hosts `algo-10` has rank 1, and `hosts[0]` is the master. Names
may be anything: nothing here knows `algo-1`, nor asks the machine for its own name.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html.
"""

import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .json_file import JSON, list_field, read_object, string_field, wrong_field

LONE_HOST = "localhost"
DEFAULT_GROUP = "homogeneousCluster"
DEFAULT_INSTANCE_TYPE = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """Hosts of one instance type in a heterogeneous cluster."""

    name: str
    """Name that the job gave it."""
    instance_type: str
    """E.g. `ml.c5.xlarge`."""
    hosts: tuple[str, ...]
    """Its hosts, as listed: not always in order, so no master may be taken from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """All hosts of the job as every one of them sees it."""

    hosts: tuple[str, ...] = (LONE_HOST,)
    """Names of all hosts in text order; at least one."""
    current_host: str = LONE_HOST
    """Name of this host, one of `hosts`."""
    interface: str | None = None
    """Network interface to talk to the others by; None when none is named or the named one is not on this machine."""
    instance_type: str = DEFAULT_INSTANCE_TYPE
    """Type of this host."""
    group: str = DEFAULT_GROUP
    """Instance group of this host."""
    groups: tuple[InstanceGroup, ...] = ()
    """All instance groups; empty in local mode."""

    @property
    def rank(self) -> int:
        """Index of this host in `hosts`."""
        return self.hosts.index(self.current_host)

    @property
    def size(self) -> int:
        """Number of hosts."""
        return len(self.hosts)

    @property
    def speaker(self) -> str | None:
        """Name of this host before the lines of its log; None where there is one host only."""
        return self.current_host if self.size > 1 else None

    @property
    def master(self) -> str:
        """Host that the others meet at."""
        return self.hosts[0]

    @property
    def is_master(self) -> bool:
        """Whether this host is the one that the others meet at."""
        return self.current_host == self.master


def read_cluster(path: Path, *, interfaces: Collection[str] | None = None) -> Cluster:
    """Read a `resourceconfig.json`; without the file there is one host.

    Args:
        path: the file, of a training or a processing job.
        interfaces: names of this machine's network interfaces; None asks the machine.

    Raises:
        ConfigError: a field is broken, or this host is not among the hosts.
    """
    content = read_object(path)
    if content is None:
        return Cluster()
    hosts, current = _hosts(path, content)
    return Cluster(
        hosts=hosts,
        current_host=current,
        interface=_interface(path, content.get("network_interface_name"), interfaces),
        instance_type=string_field(path, "current_instance_type", content.get("current_instance_type"))
        or DEFAULT_INSTANCE_TYPE,
        group=string_field(path, "current_group_name", content.get("current_group_name")) or DEFAULT_GROUP,
        groups=tuple(
            _group(path, f"instance_groups[{index}]", value)
            for index, value in enumerate(list_field(path, "instance_groups", content.get("instance_groups")))
        ),
    )


def _hosts(path: Path, content: dict[str, JSON]) -> tuple[tuple[str, ...], str]:
    current = string_field(path, "current_host", content.get("current_host"))
    hosts = _names(path, "hosts", content.get("hosts"))
    if not hosts:
        hosts = (current or LONE_HOST,)
    if len(set(hosts)) != len(hosts):
        raise wrong_field(path, "hosts", list(hosts), "every host once")
    if current is None and len(hosts) == 1:
        current = hosts[0]
    if current not in hosts:
        raise ConfigError(
            f"{path}: current_host is {current!r}, hosts are {', '.join(hosts)}. Expected current_host to be one "
            f"of hosts. Correct either in that file."
        )
    # Every host must come to the same order, and the platform promises this one.
    return tuple(sorted(hosts)), current


def _group(path: Path, key: str, value: JSON) -> InstanceGroup:
    if not isinstance(value, dict):
        raise wrong_field(path, key, value, "an object")
    return InstanceGroup(
        name=string_field(path, f"{key}.instance_group_name", value.get("instance_group_name")) or DEFAULT_GROUP,
        instance_type=string_field(path, f"{key}.instance_type", value.get("instance_type")) or DEFAULT_INSTANCE_TYPE,
        hosts=_names(path, f"{key}.hosts", value.get("hosts")),
    )


def _names(path: Path, key: str, value: JSON) -> tuple[str, ...]:
    names = list_field(path, key, value)
    for name in names:
        if not isinstance(name, str) or not name:
            raise wrong_field(path, key, names, "a list of host names")
    return tuple(str(name) for name in names)


def _interface(path: Path, value: JSON, interfaces: Collection[str] | None) -> str | None:
    name = string_field(path, "network_interface_name", value)
    present = [name for _, name in socket.if_nameindex()] if interfaces is None else interfaces
    return name if name in present else None
