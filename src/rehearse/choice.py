"""Which backend runs the instances."""

import logging
from collections.abc import Mapping

from ..errors import ConfigError
from .backend import Backend
from .containers import DockerBackend
from .processes import ProcessBackend

log = logging.getLogger(__name__)


def choose(name: str, mark: str, environ: Mapping[str, str]) -> Backend:
    """Make the backend of a name; `auto` takes Docker where an engine answers, and says so loudly where none does.

    Raises:
        ConfigError: `docker` was asked for and no engine answers.
    """
    if name != "process":
        try:
            return DockerBackend(mark)
        except ConfigError as error:
            if name == "docker":
                raise
            log.warning("NO DOCKER: %s", error)
    return ProcessBackend(mark, environ)
