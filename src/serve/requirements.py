"""A user's `requirements.txt`, installed before their code is imported: from wheels beside it, else from an index."""

import importlib
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ..contract.paths import scratch
from ..errors import ConfigError

FILE = "requirements.txt"
WHEELS = "wheels"
"""Folder of wheels beside the file; what is in it is taken from nowhere else."""

_SITE = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
_NO_NETWORK = (
    "NewConnectionError",
    "NameResolutionError",
    "Temporary failure in name resolution",
    "ConnectTimeoutError",
    "Network is unreachable",
    "Connection refused",
    "ProxyError",
)
_LINES = 5

log = logging.getLogger(__name__)


def install(code: Path) -> None:
    """Install what a code folder asks for into a folder of this process, and let imports find it first.

    The image stays as it is: it may be read-only, and anybody may run it. What is installed already is not fetched.

    Raises:
        ConfigError: it cannot be installed; says so where there is no network.
    """
    file = code / FILE
    if not file.is_file():
        return
    start = time.monotonic()
    wheels = code / WHEELS
    target = Path(tempfile.mkdtemp(prefix="requirements-", dir=scratch()))
    source = ["--no-index", "--find-links", str(wheels)] if wheels.is_dir() else []
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--no-compile",
            "--no-warn-script-location",
            "--retries",
            "1",
            "--timeout",
            "15",
            "--prefix",
            str(target),
            *source,
            "--requirement",
            str(file),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=code,
    )
    if done.returncode != 0:
        raise ConfigError(_message(file, done.stdout + done.stderr, wheels if source else None))
    site = str(target / _SITE)
    if site not in sys.path:
        sys.path.insert(0, site)
    importlib.invalidate_caches()
    log.info("%s installed in %.1f s", file, time.monotonic() - start)


def _message(file: Path, output: str, wheels: Path | None) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = " | ".join([line for line in lines if line.startswith("ERROR")][-_LINES:] or lines[-_LINES:])
    if wheels is not None:
        change = f"Put the wheels that are missing, with their dependencies, into {WHEELS}/ beside it"
    elif any(word in output for word in _NO_NETWORK):
        change = (
            f"There is no network to fetch it from (network isolation, or a VPC without a way out): put wheels into a "
            f"folder {WHEELS}/ beside it (`pip download`), or install it in an image of your own"
        )
    else:
        change = "Correct it, or install it in an image of your own"
    return f"{file} cannot be installed: {said}. {change}."
