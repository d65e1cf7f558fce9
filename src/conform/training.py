"""The verb `train`: contract 1.17, each check with jobs of its own, one container a host."""

import contextlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..contract.hyperparameters import TUNING_METRIC
from ..contract.paths import DEFAULT_BASE_DIR, Paths
from ..rehearse.fifo import Feeder
from ..rehearse.trees import write_training
from .check import Check
from .engine import Container, owner
from .subject import TABLE, Subject, readable
from .verdict import Absent, Failed, expect

CHANNEL = "training"
JOB_S, STOP_S = 120.0, 120
"""Seconds that a job on a few rows may take, and those that the platform leaves after SIGTERM."""
GOOD_STOP_S = 60.0
"""Spot instances may be gone sooner than that."""
BUSY_S = 25.0
"""How long a job may run before it is taken for one in the middle of its work, checkpoint or not."""
FAILURE_SHOWN = 1024
"""Characters of the failure file that become FailureReason."""
NOT_A_TABLE = "\x00\x01 no table \x02\n" * 50


def trains(subject: Subject) -> str:
    """What it leaves is the model of all later checks, unless one was given."""
    paths = job(subject, "first")
    finish(subject, paths)
    if subject.model is None:
        subject.model = readable(paths.model)
    return f"exit 0, model: {', '.join(files(paths.model))}"


def encoded(subject: Subject) -> str:
    """The SDK sends JSON: `"adam"` comes with its quotes."""
    if not subject.hyperparameters:
        raise Absent("no hyperparameter to try", "Pass --hyperparameter NAME=VALUE.")
    plain = job(subject, "plain")
    finish(subject, plain)
    quoted = job(subject, "quoted", {name: json.dumps(text) for name, text in subject.hyperparameters.items()})
    finish(subject, quoted)
    expect(
        files(plain.model) == files(quoted.model),
        f"plain: {files(plain.model)}, quoted: {files(quoted.model)}",
        "Decode hyperparameters from JSON where they are JSON.",
    )
    return f"{', '.join(subject.hyperparameters)} with and without quotes"


def own_hyperparameters(subject: Subject) -> str:
    """The platform adds hyperparameters of its own."""
    added = {TUNING_METRIC: "validation:loss", "sagemaker_region": '"us-east-1"', "sagemaker_job_name": '"j"'}
    finish(subject, job(subject, "platform", {**subject.hyperparameters, **added}))
    return ", ".join(added)


def read_only_input(subject: Subject) -> str:
    """FastFile is a file system that cannot be written."""
    paths = job(subject, "fast")
    finish(subject, paths, {paths.input: f"{Paths().input}:ro"})
    return "trained"


def pipe(subject: Subject) -> str:
    """A FIFO a pass, made after the container has started."""
    paths = job(subject, "pipe", mode="Pipe", data={})
    rows = b"".join(path.read_bytes() for path in sorted(source(subject).iterdir()) if path.is_file())
    with launch(subject, paths) as container:
        feeder = Feeder(paths.channel(CHANNEL), lambda _: [rows])
        try:
            code = container.wait(JOB_S)
        finally:
            feeder.close()
        if code:
            raise Absent(f"exit {code}: {container.last_words()}", "Read FIFOs, or never ask for Pipe mode.")
    return "trained"


def stops(subject: Subject) -> str:
    """Spot, StopTrainingJob and MaxRuntime all come as SIGTERM."""
    paths = job(subject, "long", {**subject.hyperparameters, **subject.long})
    kept = (paths.checkpoints, paths.model)
    with launch(subject, paths) as container:
        container.wait_until(lambda: any(files(folder) for folder in kept), BUSY_S)
        if not container.running:
            raise Absent("training ended before it could be stopped", "Pass --long NAME=VALUE to have it take minutes.")
        code, seconds = container.stop(STOP_S)
        log = container.last_words()
    found = f"exit {code} after {seconds:.1f} s, left {sum(len(files(folder)) for folder in kept)} files"
    expect(code in (0, 143), f"{found}: {log}", "Hear SIGTERM in the first process, save, and exit 0.")
    expect(seconds <= GOOD_STOP_S, found, "Save and end within 60 s: spot instances may leave no more.")
    expect(any(files(folder) for folder in kept), found, "Write a checkpoint or the model before the end.")
    return found


def fails(subject: Subject) -> str:
    """FailureReason is the head of a file."""
    paths = job(subject, "broken", data={"broken.csv": NOT_A_TABLE})
    with launch(subject, paths) as container:
        code = container.wait(JOB_S)
    expect(code, "exit 0 on data that is no table", "Exit with another code than 0.")
    advice = f"Write the cause to {Paths().failure}."
    expect(paths.failure.is_file() and paths.failure.stat().st_size, f"exit {code}, no failure file", advice)
    head = paths.failure.read_text(errors="replace")[:FAILURE_SHOWN]
    expect(not head.startswith("Traceback"), f"exit {code}: {head[:60]!r}", "Begin with the cause, not a traceback.")
    return f"exit {code}: {' '.join(head.split())[:100]}"


def two_hosts(subject: Subject) -> str:
    """Ranks follow the list of hosts, not the numbers in their names; one of them writes the model."""
    one, two = together(subject, "hosts")
    expect(
        files(one.model),
        f"no model on the first host, algo-10; algo-2 has {files(two.model)}",
        "Take a host's rank from its place in `hosts`.",
    )
    both = sorted(set(files(one.model)) & set(files(two.model)))
    expect(not both, f"both hosts write {', '.join(both)}", "Write the model on the first host only.")
    return "the first of algo-10, algo-2 writes the model"


def empty_host(subject: Subject) -> str:
    """ShardedByS3Key on more hosts than objects leaves some of them nothing."""
    try:
        together(subject, "sharded", empty=True)
    except Failed as error:
        if "exit" not in error.found:
            raise
        # Who asks for no sharding never has such a host; a job that waits for ever would be another matter.
        raise Absent(error.found, "Take part in each step without data, or never shard by key.") from error
    return "trained"


def together(subject: Subject, name: str, *, empty: bool = False) -> list[Paths]:
    """Train on algo-10 and algo-2, the second one perhaps without data; Failed unless both end well."""
    hosts = ("algo-10", "algo-2")
    trees = [
        job(
            subject,
            f"{name}-{host}",
            host=host,
            hosts=hosts,
            data={} if empty and host == "algo-2" else None,
            distribution="ShardedByS3Key" if empty else "FullyReplicated",
        )
        for host in hosts
    ]
    with subject.engine.network() as network, contextlib.ExitStack() as stack:
        settings = [subject.engine.alias(network, host) for host in hosts]
        started = [
            stack.enter_context(launch(subject, paths, **own)) for paths, own in zip(trees, settings, strict=True)
        ]
        codes = [container.wait(JOB_S) for container in started]
        logs = [container.last_words() for container in started]
    for host, code, log in zip(hosts, codes, logs, strict=True):
        expect(code == 0, f"{host}: exit {code}: {log}", "See the log of this host.")
    return trees


def job(
    subject: Subject,
    name: str,
    hyperparameters: Mapping[str, str] | None = None,
    *,
    host: str = "algo-1",
    hosts: Iterable[str] = ("algo-1",),
    mode: str = "File",
    distribution: str = "FullyReplicated",
    data: Mapping[str, str] | None = None,
) -> Paths:
    """Lay out the tree of a host; `data` takes the place of the channel's files."""
    paths, names = Paths(subject.folder / name), list(hosts)
    channel = {
        "ChannelName": CHANNEL,
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataDistributionType": distribution}},
    }
    request = {
        "HyperParameters": dict(subject.hyperparameters if hyperparameters is None else hyperparameters),
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": len(names)},
        "AlgorithmSpecification": {"TrainingInputMode": mode},
        "InputDataConfig": [channel],
    }
    write_training(paths, request, host, names, "eth0")
    paths.checkpoints.mkdir()
    if data is None:
        shutil.copytree(source(subject), paths.channel(CHANNEL))
    elif mode != "Pipe":
        paths.channel(CHANNEL).mkdir()
        for file, text in data.items():
            (paths.channel(CHANNEL) / file).write_text(text)
    return paths


def source(subject: Subject) -> Path:
    """Folder of the channel."""
    if subject.data is None:
        subject.data = subject.folder / "table"
        subject.data.mkdir()
        (subject.data / "part-0.csv").write_text(TABLE)
    return subject.data


def launch(
    subject: Subject,
    paths: Paths,
    mounts: Mapping[Path, str] | None = None,
    **settings: Any,  # noqa: ANN401 - of docker-py
) -> Container:
    """Start `train` on a tree."""
    return subject.engine.start(
        "train", mounts={paths.base: f"{DEFAULT_BASE_DIR}:rw", **(mounts or {})}, **{**owner(), **settings}
    )


def finish(subject: Subject, paths: Paths, mounts: Mapping[Path, str] | None = None) -> None:
    """Train to the end. Failed unless there is a model then."""
    with launch(subject, paths, mounts) as container:
        code = container.wait(JOB_S)
        if code:
            raise Failed(f"exit {code}: {container.last_words()}", f"See {Paths().failure} and the log.")
    expect(files(paths.model), "exit 0, but no model", f"Write it to {Paths().model}.")
    links = [path.name for path in paths.model.rglob("*") if path.is_symlink()]
    expect(not links, f"links in the model: {', '.join(links)}", "Write regular files: links are not uploaded.")


def files(folder: Path) -> list[str]:
    """Names of the files below a folder, in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


CHECKS = (
    Check("1.17.1", "trains on what the platform mounts", trains),
    Check("1.17.2", "takes hyperparameters with and without JSON's quotes", encoded),
    Check("1.17.3", "takes the platform's own hyperparameters", own_hyperparameters),
    Check("1.17.4", "saves and ends on SIGTERM", stops),
    Check("1.17.5", "says why it failed", fails),
    Check("1.17.6", "ranks two hosts by their list", two_hosts),
    Check("1.17.7", "reads channels that cannot be written (FastFile)", read_only_input),
    Check("1.17.7", "reads FIFOs that are made late (Pipe)", pipe),
    Check("1.17.8", "does not hang on a host without data", empty_host),
)
