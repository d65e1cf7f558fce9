"""Environment and arguments of a user's script, as the SageMaker training toolkit of AWS's own images writes them.

    facts of the job ──┬── each         SM_HOSTS, SM_MODEL_DIR, SM_NUM_GPUS, ...
                       └── all          SM_TRAINING_ENV
    hyperparameters ───┬── each         SM_HP_<KEY>
                       └── all          SM_HPS, SM_USER_ARGS
    channels ──────────┬── each         SM_CHANNEL_<NAME>
                       └── all          SM_CHANNELS

Text stays as it is, None becomes the empty string, all else compact JSON with sorted keys.

Source: STT:environment.py (`Environment`, `to_env_vars`), mapping.py (`to_env_vars`, `to_cmd_args`), params.py.
"""

import json
from collections.abc import Iterable, Mapping

from ..errors import ConfigError
from .hyperparameters import FRAMEWORK_KEYS
from .job import TrainingJob
from .json_file import JSON

DEFAULT_INTERFACE = "eth0"
VARIABLE_BYTES = 131_072
"""Most that Linux takes for one `NAME=value` with its end (MAX_ARG_STRLEN); one more and no process can be started."""

_CONSUMED = FRAMEWORK_KEYS | {
    "sagemaker_container_log_level",
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_job_name",
    "sagemaker_program",
    "sagemaker_region",
    "sagemaker_s3_output",
    "sagemaker_submit_directory",
}
"""Framework parameters that have variables of their own, and so are not in `SM_FRAMEWORK_PARAMS`."""

_DISTRIBUTION_SWITCHES = (
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_mpi_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_torch_distributed_enabled",
)

_ONLY_IN_TRAINING_ENV = frozenset(
    {
        "additional_framework_parameters",
        "channel_input_dirs",
        "distribution_hosts",
        "hyperparameters",
        "is_master",
        "is_modelparallel_enabled",
        "is_smddpmprun_installed",
        "is_smddprun_installed",
        "job_name",
        "master_hostname",
        "topology",
    }
)
"""Facts without a variable of their own, or with one under another name."""


def script_environment(job: TrainingJob, *, cpus: int, gpus: int, neurons: int = 0) -> dict[str, str]:
    """Build the variables that a user's script finds.

    Args:
        job: the training job.
        cpus: cores of this container.
        gpus: GPUs of this container.
        neurons: Neuron cores of this container.

    Raises:
        ConfigError: a hyperparameter cannot be put into the environment of a process.
    """
    facts = _cluster_facts(job) | _path_facts(job) | _program_facts(job)
    facts |= {"num_cpus": cpus, "num_gpus": gpus, "num_neurons": neurons}
    hyperparameters = job.hyperparameters.user
    variables: dict[str, JSON] = {key: value for key, value in facts.items() if key not in _ONLY_IN_TRAINING_ENV}
    variables |= {
        "channels": _json(sorted(job.channels)),
        "framework_params": facts["additional_framework_parameters"],
        "hps": hyperparameters,
        "training_env": facts,
        "user_args": _json(script_arguments(hyperparameters)),
    }
    if facts["topology"]:
        variables["topology"] = facts["topology"]
    variables |= {f"channel_{name}": str(channel.path) for name, channel in job.channels.items()}
    variables |= {f"hp_{key}": value for key, value in hyperparameters.items()}
    environment = {f"SM_{key.upper()}": _text(value) for key, value in variables.items()}
    environment |= {
        "CURRENT_HOST": job.cluster.current_host,
        "SAGEMAKER_JOB_NAME": job.name or "",
        "SAGEMAKER_REGION": job.region or "",
    }
    for name, text in environment.items():
        _check_variable(name, text)
    return environment


def script_arguments(hyperparameters: Mapping[str, JSON]) -> list[str]:
    """Build the arguments of a user's script: `--key value` in the order of the keys, `-k` for keys of one letter.

    None becomes the empty string, an object `key=value,key=value`, all else what Python's `str` makes of it.
    """
    arguments: list[str] = []
    for key, value in sorted(hyperparameters.items()):
        arguments += [_option(key), _argument(value)]
    return arguments


def _option(key: str) -> str:
    if not key:
        return ""
    return f"--{key}" if len(key) > 1 else f"-{key}"


def _argument(value: JSON) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    return str(value)


def _cluster_facts(job: TrainingJob) -> dict[str, JSON]:
    cluster = job.cluster
    config = job.resource_config or {"current_host": cluster.current_host, "hosts": _json(cluster.hosts)}
    names = [group.name for group in cluster.groups]
    groups = dict(zip(names, _objects(config.get("instance_groups")), strict=False))
    own = next((group.hosts for group in cluster.groups if group.name == cluster.group), ())
    distributed = _distribution_groups(job)
    distribution_hosts = [host for group in cluster.groups if group.name in distributed for host in group.hosts]
    # The toolkit takes the first as listed, but groups are not always listed in order, and all must agree on a master.
    distribution_hosts = sorted(distribution_hosts) if cluster.groups else list(cluster.hosts)
    master = (distribution_hosts or list(cluster.hosts))[0]
    return {
        "current_host": cluster.current_host,
        "current_instance_group": cluster.group,
        "current_instance_group_hosts": _json(own),
        "current_instance_type": cluster.instance_type,
        "distribution_hosts": _json(distribution_hosts),
        "distribution_instance_groups": _json(distributed),
        "hosts": _json(cluster.hosts),
        "instance_groups": _json(names),
        "instance_groups_dict": groups,
        "is_hetero": len(names) > 1,
        "is_master": cluster.current_host == master,
        "master_hostname": master,
        "network_interface_name": config.get("network_interface_name", DEFAULT_INTERFACE),
        "resource_config": config,
        "topology": config.get("topology", []),
    }


def _path_facts(job: TrainingJob) -> dict[str, JSON]:
    paths = job.paths
    config = job.input_data_config or {name: {"TrainingInputMode": item.mode} for name, item in job.channels.items()}
    return {
        "channel_input_dirs": {name: str(channel.path) for name, channel in job.channels.items()},
        "input_config_dir": str(paths.config),
        "input_data_config": config,
        "input_dir": str(paths.input),
        "model_dir": str(paths.model),
        "output_data_dir": str(paths.output_data),
        "output_dir": str(paths.output),
        "output_intermediate_dir": str(paths.output_intermediate),
    }


def _program_facts(job: TrainingJob) -> dict[str, JSON]:
    framework = job.hyperparameters.framework
    return {
        "additional_framework_parameters": {key: value for key, value in framework.items() if key not in _CONSUMED},
        "framework_module": job.framework_module,
        "hyperparameters": job.hyperparameters.user,
        # The library for model parallelism and its launchers belong to AWS's own images.
        "is_modelparallel_enabled": None,
        "is_smddpmprun_installed": False,
        "is_smddprun_installed": False,
        "job_name": job.name,
        "log_level": job.log_level,
        "module_dir": job.submit_directory or str(job.paths.code),
        "module_name": job.program.removesuffix(".py") if job.program else None,
        "user_entry_point": job.program,
    }


def _distribution_groups(job: TrainingJob) -> list[str]:
    framework = job.hyperparameters.framework
    chosen = framework.get("sagemaker_distribution_instance_groups")
    if isinstance(chosen, list):
        return [str(name) for name in chosen]
    return [job.cluster.group] if any(framework.get(switch) for switch in _DISTRIBUTION_SWITCHES) else []


def _objects(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def _json(texts: Iterable[str]) -> list[JSON]:
    return list(texts)


def _text(value: JSON) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _check_variable(name: str, text: str) -> None:
    """Refuse what no process can be started with, before the kernel does so without naming the culprit."""
    try:
        size = len(f"{name}={text}\0".encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        size = None
    if "=" in name or "\0" in name or "\0" in text or size is None:
        raise ConfigError(
            f"{name!r} cannot be an environment variable: its name or value holds NUL, half a surrogate pair, or = in "
            f"the name. Expected plain text. Rename or change that hyperparameter."
        )
    if size > VARIABLE_BYTES:
        raise ConfigError(
            f"The environment variable {name} would take {size:,} bytes. Expected at most {VARIABLE_BYTES:,}, the "
            f"limit of Linux. Shorten the hyperparameters; put long values into a file of a channel."
        )
