"""How this machine reaches the other hosts: its interfaces, the one that leads to a host, Elastic Fabric Adapters.

Asked of the machine, never of a list of instance types. Source: netdevice(7) for SIOCGIFADDR; for the folders,
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-efa.html.
"""

import fcntl
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys/class")
DEVICES = Path("/dev/infiniband")
EFA_LIBRARIES = (Path("/opt/amazon/efa"), Path("/opt/amazon/ofi-nccl"))
"""The EFA user-space and the plugin by which NCCL uses it; an image may have them or not."""

_SIOCGIFADDR = 0x8915
_NAME_BYTES = 15
_ANY_PORT = 9


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface."""

    name: str
    address: str | None
    """IPv4 address; None without one."""
    megabits: int | None
    """Speed in Mbit/s; None where the driver does not say."""


def interfaces(sys: Path = SYS) -> list[Interface]:
    """List the network interfaces of this container, loopback too."""
    return [Interface(name, _address(name), _megabits(sys / "net" / name)) for _, name in socket.if_nameindex()]


def leads_to(host: str) -> str | None:
    """Name of the interface by which packets for a host leave; None where the host or a way to it is unknown.

    Nothing is sent: the kernel chooses the address when a datagram socket is connected.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, _ANY_PORT))
            own = probe.getsockname()[0]
    except OSError:
        return None
    return next((one.name for one in interfaces() if one.address == own), None)


def efa_devices(devices: Path = DEVICES, sys: Path = SYS) -> list[str]:
    """Names of the Elastic Fabric Adapters that this container may use."""
    if not any(devices.glob("uverbs*")):
        return []
    folder = sys / "infiniband"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [one.name for one in found if (one / "device" / "driver").resolve().name == "efa"]


def efa_missing(libraries: tuple[Path, ...] = EFA_LIBRARIES) -> list[str]:
    """Folders of the EFA user-space that this image does not have."""
    return [str(folder) for folder in libraries if not folder.is_dir()]


def _address(name: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:_NAME_BYTES]))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _megabits(folder: Path) -> int | None:
    try:
        speed = int((folder / "speed").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return speed if speed > 0 else None
