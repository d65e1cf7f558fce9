"""What a script needs beside the image: `requirements.txt`, or a `setup.py`, of the code folder, by pip.

Packages go where the image has its own, or, where that may not be written (a read-only root, a user without rights), to
a folder of the run that the script's Python searches first.
"""

import logging
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError, PlatformError

log = logging.getLogger(__name__)

REQUIREMENTS = "requirements.txt"
SETUP = "setup.py"
CODE_ARTIFACT_VARIABLE = "CA_REPOSITORY_ARN"
_OFFLINE = ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "name resolution")


def install(
    folder: Path, environ: Mapping[str, str], scratch: Path, *, package: bool, library: Path | None = None
) -> dict[str, str]:
    """Install what the code folder asks for, and return what the script's environment needs to find it.

    Args:
        folder: the user's code.
        environ: settings of pip (`PIP_*`), or of CodeArtifact.
        scratch: a folder for as long as the run lasts.
        package: whether the code itself is to be installed, by its `setup.py`.
        library: where packages go; None is where this Python has its own.

    Raises:
        ConfigError: pip cannot install it.
        PlatformError: CodeArtifact gives no access.
    """
    wanted = ["."] if package else []
    if (folder / REQUIREMENTS).is_file():
        wanted += ["--requirement", REQUIREMENTS]
    if not wanted:
        return {}
    command = [sys.executable, "-P", "-m", "pip", "install", "--progress-bar=off", *wanted]
    found: dict[str, str] = {}
    if not os.access(library or sysconfig.get_path("purelib"), os.W_OK):
        prefix = scratch / "packages"
        command.append(f"--prefix={prefix}")
        paths = [sysconfig.get_path("purelib", vars={"base": str(prefix)}), environ.get("PYTHONPATH", "")]
        found["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        found["PATH"] = os.pathsep.join(filter(None, [str(prefix / "bin"), environ.get("PATH", "")]))
    _run(command, folder, {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", **environ, **_index(environ)})
    return found


def _run(command: list[str], folder: Path, environ: dict[str, str]) -> None:
    """Run pip to its end, its output line by line in the log."""
    errors: list[str] = []
    offline = False
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as pip:
        try:
            for line in map(_text, pip.stdout or ()):
                log.info("%s", line)
                offline = offline or any(sign in line for sign in _OFFLINE)
                errors += [line.removeprefix("ERROR: ")] if line.startswith("ERROR: ") else []
            code = pip.wait()
        except BaseException:
            pip.kill()
            raise
    if code:
        reason = errors[0] if errors else f"pip ended with exit code {code}"
        cure = (
            "there is no way to a package index from here: with network isolation, put wheels into source_dir and "
            "'--no-index --find-links .' into requirements.txt"
            if offline
            else "correct requirements.txt"
        )
        raise ConfigError(
            f"The packages of the script cannot be installed: {reason}. Expected pip to find all: {cure}."
        )


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip()


def _index(environ: Mapping[str, str]) -> dict[str, str]:
    """Setting of pip for a repository of CodeArtifact; its token must not be seen among a process's arguments."""
    if not environ.get(CODE_ARTIFACT_VARIABLE):
        return {}
    from sagemaker_training import modules  # noqa: PLC0415 - it brings boto3

    try:
        return {"PIP_INDEX_URL": modules._get_codeartifact_index()}  # noqa: SLF001 - the toolkit's own way to it
    except Exception as error:
        raise PlatformError(
            f"{CODE_ARTIFACT_VARIABLE} is {environ[CODE_ARTIFACT_VARIABLE]!r}, and CodeArtifact gives no access to it: "
            f"{error}. Check the ARN, and codeartifact:GetAuthorizationToken in the job's role."
        ) from error
