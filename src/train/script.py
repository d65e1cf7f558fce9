"""Script mode: what a job's own script is started with, and on how many processes.

    sagemaker_program   train.py        python train.py --key value ...       by torchrun, on every process
                        train.sh        bash train.sh --key value ...         once a host
                        train           ./train, an executable                once a host
                        name            python -m name, where setup.py is     by torchrun, on every process

torchrun starts the ranks where `sagemaker_torch_distributed_enabled` asks for it, and by itself where the job has more
than one process; a job of one process, or one where it is set to false, starts the script once a host. Between ours and
the script stands `script_rank`, which relays its output and tells it to stop.

Source: STT:entry_point.py, process.py, torch_distributed.py; https://github.com/aws/sagemaker-training-toolkit.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ..contract.environment import script_arguments, script_environment
from ..contract.job import TrainingJob
from ..errors import ConfigError
from .launch import MASTER_PORT, Launch, processes_per_host, torchrun
from .reports import SCRATCH_VARIABLE

_TORCHRUN = "sagemaker_torch_distributed_enabled"
_LIKE_TORCHRUN = "sagemaker_pytorch_ddp_enabled"
_REFUSED = {
    "sagemaker_distributed_dataparallel_enabled": "smdistributed's data parallelism",
    "sagemaker_mpi_enabled": "MPI",
    "sagemaker_multi_worker_mirrored_strategy_enabled": "TensorFlow's strategies",
    "sagemaker_parameter_server_enabled": "parameter servers",
    "sagemaker_pytorch_xla_multi_worker_enabled": "XLA",
}


def plan_script(
    job: TrainingJob,
    environ: Mapping[str, str],
    folder: Path,
    entry: list[str],
    *,
    cpus: int,
    gpus: int,
    directory: Path,
) -> Launch:
    """Describe how this host runs the job's script.

    Args:
        job: a job with a `program`.
        environ: environment of this container.
        folder: the user's code.
        entry: the command, without arguments, that starts the script.
        cpus: cores of this container.
        gpus: GPUs of this container.
        directory: where ranks leave reports.

    Raises:
        ConfigError: a way to start it that this image does not have.
    """
    arguments = script_arguments(job.hyperparameters.user)
    variables = {**environ, **script_environment(job, cpus=cpus, gpus=gpus)}
    command = ["-m", "twofold.train.script_rank", str(folder), *entry, *arguments]
    processes = processes_per_host(job, 0, gpus)
    if _by_torchrun(job, processes, python=entry[0] == sys.executable):
        return torchrun(job.cluster, command, variables, processes=processes, cpus=cpus, directory=directory)
    return Launch(
        argv=[sys.executable, *command],
        environ={
            "OMP_NUM_THREADS": str(cpus),
            # For scripts that join the hosts by themselves, as in AWS's own images.
            "MASTER_ADDR": job.cluster.master,
            "MASTER_PORT": str(MASTER_PORT),
            **variables,
            "PYTHONSAFEPATH": "1",
            SCRATCH_VARIABLE: str(directory),
        },
        has_ranks=False,
    )


def find_entry(folder: Path, program: str) -> list[str]:
    """Return the command, without arguments, that starts a script; relative names are below the code folder.

    Raises:
        ConfigError: there is no such script, or it cannot be started.
    """
    path = folder / program
    if path.is_file():
        if path.suffix == ".py":
            return [sys.executable, program]
        if path.suffix == ".sh":
            return ["bash", program]
        if os.access(path, os.X_OK):
            return [str(path)]
        raise ConfigError(
            f"sagemaker_program is {program!r}, which is no Python file, no .sh and not executable. Expected one of "
            f"these: rename it, or make it executable with a first line such as #!/usr/bin/env python3."
        )
    if (folder / "setup.py").is_file() and program.isidentifier():
        return [sys.executable, "-m", program]
    entries = sorted(str(found.relative_to(folder)) for found in folder.glob("*.py")) if folder.is_dir() else []
    raise ConfigError(
        f"sagemaker_program is {program!r}, and {folder} has no such file (Python files there: "
        f"{', '.join(entries[:10]) or 'none'}). Expected the script's path below source_dir: correct entry_point, or "
        f"put the script there."
    )


def _by_torchrun(job: TrainingJob, processes: int, *, python: bool) -> bool:
    """Whether torchrun starts the script.

    Raises:
        ConfigError: the job asks for a launcher that is not here, or for torchrun with something else than Python.
    """
    framework = job.hyperparameters.framework
    for switch, name in _REFUSED.items():
        if framework.get(switch):
            raise ConfigError(
                f"{switch} asks for {name}, which this image does not have. Expected torchrun: use "
                f"distribution={{'torch_distributed': {{'enabled': True}}}}, or leave 'distribution' out."
            )
    asked = framework.get(_TORCHRUN, framework.get(_LIKE_TORCHRUN))
    if asked and not python:
        raise ConfigError(
            f"{_TORCHRUN} is set, but {job.program!r} is no Python script. Expected a .py file for torchrun: name one "
            f"as entry_point, or call torchrun in your script and leave 'distribution' out."
        )
    return bool(asked) if asked is not None else python and processes * job.cluster.size > 1
