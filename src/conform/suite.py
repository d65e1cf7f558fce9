"""All checks in the order in which they are tried: training first, which makes the model that is served."""

import time
from collections.abc import Iterator, Sequence

from ..errors import ConfigError
from . import image, load, media, models, modes, serving, training
from .check import Check
from .subject import Subject
from .verdict import Finding, Result, Verdict

OK: Result = "ok"
CHECKS: tuple[Check, ...] = (
    *image.CHECKS,
    *training.CHECKS,
    *serving.CHECKS,
    *load.CHECKS,
    *models.CHECKS,
    *modes.CHECKS,
    *media.CHECKS,
)


def chosen(sections: Sequence[str], *, has_model: bool) -> list[Check]:
    """Checks of these sections, all without any; the one that trains stays where the model of others comes from.

    Raises:
        ConfigError: a section of which there is no check.
    """
    for section in sections:
        if not any(_inside(check, section) for check in CHECKS):
            known = sorted(
                {check.section for check in CHECKS}, key=lambda text: [int(part) for part in text.split(".")]
            )
            raise ConfigError(f"--only is {section!r}, expected one of: {', '.join(known)}.")
    first = training.CHECKS[0]
    return [
        check
        for check in CHECKS
        if not sections or any(_inside(check, section) for section in sections) or (check is first and not has_model)
    ]


def findings(subject: Subject, checks: Sequence[Check]) -> Iterator[Finding]:
    """Try each check, one after another."""
    for check in checks:
        began, result, change = time.monotonic(), OK, ""
        try:
            found = check.run(subject)
        except Verdict as verdict:
            found, change, result = verdict.found, verdict.change, verdict.result
        yield Finding(
            section=check.section,
            check=check.name,
            result=result,
            found=found,
            change=change,
            seconds=round(time.monotonic() - began, 1),
        )


def _inside(check: Check, section: str) -> bool:
    return f"{check.section}.".startswith(f"{section}.")
