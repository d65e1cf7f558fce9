"""Faults that hit all calls or jobs: slow S3, S3 that answers 503, throttled calls of SageMaker, small disks."""

import random
import time
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Response

from ..errors import ApiError
from . import disk

KINDS = {"slow-s3": 60.0, "s3-errors": 1.0, "throttle": 1.0, "small-disk": 1e6}
"""By name, and the largest value of each."""
OURSELVES = "twofold-rehearsal"
"""In the user agent of the rehearsal's own clients, which errors must not hit."""


@dataclass(slots=True)
class Weather:
    """What is wrong at the moment."""

    slow_s3: float = 0.0
    """Seconds that each call of S3 waits."""
    s3_errors: float = 0.0
    """Share of the calls of S3 that are answered with 503 SlowDown."""
    throttle: float = 0.0
    """Share of the calls of SageMaker that are answered with ThrottlingException."""
    small_disk: float = 0.0
    """Megabytes of the disk of each host of a training job that starts from now on; 0: the disk of this machine."""
    _chance: random.Random = field(default_factory=random.Random)

    def change(self, kind: str, value: float) -> str:
        """Change one of them; 0 ends it. A sentence that says what holds from now on.

        Raises:
            ApiError: a value that none can have.
        """
        if not 0 <= value <= KINDS[kind]:
            raise ApiError(f"{kind} is {value}, expected 0 to {KINDS[kind]:g}.", code="ValidationException")
        if kind == "small-disk" and value and not disk.may_mount():
            raise ApiError("Only root may mount a small disk: run the rehearsal as root.", code="NotRehearsed")
        setattr(self, kind.replace("-", "_"), value)
        words = {
            "slow-s3": f"each call of S3 waits {value:g} s",
            "s3-errors": f"{value:.0%} of the calls of S3 are answered with 503",
            "throttle": f"{value:.0%} of the calls of SageMaker are throttled",
            "small-disk": f"hosts of training jobs that start now have a disk of {value:g} MB"
            if value
            else "training jobs that start now have the disk of this machine",
        }
        return words[kind]

    def on_s3(self, environ: dict[str, Any]) -> Response | None:
        """Let a call of S3 wait; an answer in place of S3's, or None."""
        time.sleep(self.slow_s3)
        if OURSELVES in environ.get("HTTP_USER_AGENT", "") or self._chance.random() >= self.s3_errors:
            return None
        text = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        return Response(text, status=503, content_type="application/xml")

    def on_sagemaker(self) -> None:
        """Let a call of SageMaker through.

        Raises:
            ApiError: it is throttled.
        """
        if self._chance.random() < self.throttle:
            raise ApiError("Rate exceeded", code="ThrottlingException")
