"""What can be seen from outside: platform, entry point, labels, size, and the tools that the SDK's launchers call."""

from .check import Check
from .subject import Subject
from .verdict import Absent, expect

SERVERLESS_LIMIT = 10 * 1000**3
"""Largest image of a serverless endpoint, in bytes."""
TOOLS = "for tool in python3 pip3 torchrun chmod cat; do command -v $tool >/dev/null || echo $tool; done"
SWALLOWING = ("tini", "dumb-init", "init")


def platform(subject: Subject) -> str:
    """linux/amd64; arm64 runs on Graviton instances only."""
    found = f"{subject.engine.attributes['Os']}/{subject.engine.attributes['Architecture']}"
    expect(found in ("linux/amd64", "linux/arm64"), found, "Build with --platform linux/amd64.")
    return found


def entry_point(subject: Subject) -> str:
    """A shell or an init in front of `train` and `serve` swallows the word, or SIGTERM."""
    entry = subject.engine.attributes["Config"].get("Entrypoint") or []
    found = f"ENTRYPOINT {entry}" if entry else "no ENTRYPOINT"
    expect(entry[:2] != ["/bin/sh", "-c"], found, 'Write it in exec form: ENTRYPOINT ["program"].')
    expect(not entry or entry[0].rpartition("/")[2] not in SWALLOWING, found, "Leave the init out.")
    return found


def size(subject: Subject) -> str:
    """A serverless endpoint takes 10 GB."""
    size = int(subject.engine.attributes["Size"])
    found = f"{size / 1e9:.2f} GB unpacked"
    expect(size <= SERVERLESS_LIMIT, found, "Make it smaller than 10 GB, or do not use it for serverless endpoints.")
    return found


def label(subject: Subject, name: str, use: str) -> str:
    """A capability that the platform asks for by a label."""
    whole = f"com.amazonaws.sagemaker.capabilities.{name}"
    if not subject.claims(name):
        raise Absent(f"no label {whole}", f"{use} need LABEL {whole}=true.")
    return "labelled"


def in_pipelines(subject: Subject) -> str:
    """Containers of a pipeline share one network."""
    return label(subject, "accept-bind-to-port", "Inference pipelines")


def of_many_models(subject: Subject) -> str:
    """Asked for when a multi-model endpoint is created."""
    return label(subject, "multi-models", "Multi-model endpoints")


def launchers(subject: Subject) -> str:
    """SDK v3 starts a training container with /bin/bash and a script that calls these."""
    code, missing = subject.engine.run(TOOLS, entrypoint=["/bin/bash", "-c"], seconds=60)
    names = ", ".join(missing.split())
    if code == 0 and names == "torchrun":
        raise Absent("no torchrun", "Install torch: the distributed launcher of SDK v3 calls torchrun.")
    expect(code == 0 and not names, f"missing: {names}", "Put bash, python3 and pip3 on PATH.")
    return "bash, python3, pip3, torchrun"


CHECKS = (
    Check("1.1", "is built for the platform's machines", platform),
    Check("1.1", "gets `train`, `serve` and signals", entry_point),
    Check("1.17.9", "has the tools of the SDK's launchers", launchers),
    Check("2.12", "says that it takes SAGEMAKER_BIND_TO_PORT", in_pipelines),
    Check("3", "says that it holds many models", of_many_models),
    Check("4", "fits a serverless endpoint", size),
)
