"""Entry point of `twofold doctor`: look, print one screen or JSON, and end with 0 only if the job can work."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict

import click

from ..contract.job import read_training_job
from ..contract.paths import Paths
from ..errors import ConfigError, TwofoldError
from ..train.checkup import Finding, examine

_MARKS = {"ok": " ", "adapted": "~", "warning": "!", "fault": "x"}
"""In front of each line, for eyes that skim."""


def look(environ: Mapping[str, str]) -> list[Finding]:
    """Examine the job under /opt/ml, or say why it cannot be read."""
    try:
        job = read_training_job(Paths.from_environ(environ), environ)
    except TwofoldError as error:
        return [Finding("job", str(error), "fault")]
    return examine(job, environ, resolve=True)


def screen(findings: list[Finding]) -> str:
    """One line a finding, and a last one with the verdict."""
    width = max(len(finding.topic) for finding in findings)
    lines = [f"{_MARKS[finding.level]} {finding.topic:{width}}  {finding.text}" for finding in findings]
    counts = {level: sum(finding.level == level for finding in findings) for level in _MARKS}
    verdict = "The job cannot work" if counts["fault"] else "The job can work"
    tally = f"{counts['fault']} faults (x), {counts['warning']} warnings (!), {counts['adapted']} adapted (~)"
    return "\n".join([*lines, "", f"{verdict}: {tally}."])


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of topic, text and level instead.")
def main(*, as_json: bool) -> None:
    """Say what this machine offers and what the training job under /opt/ml (or SAGEMAKER_BASE_DIR) asks.

    Ends with 0 if the job can work, else with 2.
    """
    findings = look(os.environ)
    click.echo(json.dumps([asdict(finding) for finding in findings], indent=2) if as_json else screen(findings))
    sys.exit(ConfigError.exit_code if any(finding.level == "fault" for finding in findings) else 0)


if __name__ == "__main__":
    main(prog_name="twofold doctor")
