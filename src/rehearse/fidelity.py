"""The page that says how a rehearsal differs from AWS, written from the tables that the code runs by."""

from .front import OF_MOTO, RUNTIME
from .operations import TABLE

HEAD = """# Fidelity: what a rehearsal does as AWS does, and what not

Written by `twofold rehearse fidelity` from the tables that the code runs by; a test compares. Every operation of
SageMaker that is not in the first table, and every field that is not listed below it, is refused with the error
`NotRehearsed`, which names it. Nothing is answered as if it had run.

Everywhere: names, types, ranges, forms and values of fields are checked against botocore's description of the
service. Nothing is checked of credentials, roles, keys, quotas and instance types; regions and accounts are not apart.
"""
BIDIRECTIONAL = (
    "refused: HTTP/2 on a port of its own, which boto3 does not speak either; a container of the image that you run "
    "yourself answers the WebSocket that SageMaker opens, `/invocations-bidirectional-stream`"
)


def page() -> str:
    """The page in Markdown."""
    lines = [HEAD, "## SageMaker", "", "| operation | the same | differs |", "|---|---|---|"]
    lines += [f"| `{name}` | {row.same} | {row.differs} |" for name, row in TABLE.items()]
    lines += ["", "## Runtime", "", "| operation | the same | differs |", "|---|---|---|"]
    lines += [f"| `{name}` | {same} | {differs} |" for name, (same, differs) in RUNTIME.items()]
    lines.append(f"| `InvokeEndpointWithBidirectionalStream` | - | {BIDIRECTIONAL} |")
    lines += ["", "## Other services, answered by moto", "", "| service | what for |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in OF_MOTO.items()]
    lines += ["", "## Fields", "", "Of operations that take more than a name; a field stands for all below it."]
    for name, row in TABLE.items():
        if len(row.does.split()) > 1 and not name.startswith("List"):
            lines += ["", f"`{name}`", "", f"- have their effect: {_fields(row.does)}"]
            lines += [f"- are kept and shown, without effect: {_fields(row.keeps)}"] if row.keeps else []
    return "\n".join(lines) + "\n"


def _fields(names: str) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names.split()))
