"""Times of the rehearsal that a test or a user may want shorter than the platform's."""

from dataclasses import dataclass

from .backend import SERVING_GRACE_S, TRAINING_GRACE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times in seconds."""

    training_grace_s: float = TRAINING_GRACE_S
    """From SIGTERM to SIGKILL of a training job."""
    serving_grace_s: float = SERVING_GRACE_S
    """The same of a container that serves."""
    sync_s: float = 1.0
    """Between two looks at checkpoints, logs and captured data."""
    health_s: float = 5.0
    """Between two pings of a container that is in service."""
    startup_s: float = 480.0
    """From the start of a container to its first 200 on `/ping`."""
    minute_s: float = 60.0
    """What auto-scaling takes for a minute."""
    idle_s: float = 60.0
    """From the last request to the end of a serverless container."""
