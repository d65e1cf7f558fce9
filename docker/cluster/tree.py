"""Make the /opt/ml trees of a training job as the platform mounts them, one folder a host.

    tree.py FOLDER --hosts algo-1 algo-2 --channel training=examples/digits epochs=10 learning_rate=0.01

writes FOLDER/algo-1 and FOLDER/algo-2, each with its configuration files, a copy of every channel and the empty folders
that a job writes to. Hyperparameters stay the strings that they are here, which is how the platform passes them.
The shape of the files: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

OUTPUTS = ("model", "output/data", "checkpoints")


def make_tree(
    root: Path, host: str, hosts: Sequence[str], channels: dict[str, Path], parameters: dict[str, str]
) -> None:
    """Write the tree of one host; what is there of an earlier one is kept."""
    group = {"instance_group_name": "homogeneousCluster", "instance_type": "local", "hosts": sorted(hosts)}
    files = {
        "hyperparameters.json": parameters,
        "inputdataconfig.json": {
            name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
            for name in channels
        },
        "resourceconfig.json": {
            "current_host": host,
            "current_instance_type": "local",
            "current_group_name": "homogeneousCluster",
            "hosts": sorted(hosts),
            "instance_groups": [group],
            "network_interface_name": "eth0",
        },
    }
    for folder in OUTPUTS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    config = root / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (config / name).write_text(json.dumps(content), encoding="utf-8")
    for name, source in channels.items():
        shutil.copytree(source, root / "input" / "data" / name, dirs_exist_ok=True)


def pair(text: str) -> tuple[str, str]:
    """Part `name=value`; the value may hold more equal signs."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        message = f"{text!r} is not of the form name=value"
        raise argparse.ArgumentTypeError(message)
    return name, value


def main() -> None:
    """Read the command line and make one tree a host."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hosts", nargs="+", default=["algo-1"])
    parser.add_argument("--channel", action="append", type=pair, default=[], metavar="NAME=FOLDER")
    parser.add_argument("hyperparameters", nargs="*", type=pair, metavar="NAME=VALUE")
    asked = parser.parse_intermixed_args()
    channels = {name: Path(folder) for name, folder in asked.channel}
    for host in asked.hosts:
        make_tree(asked.folder / host, host, asked.hosts, channels, dict(asked.hyperparameters))


if __name__ == "__main__":
    main()
