"""How a job ends: exit code, failure file, message of a processing job.

    output/failure    first 1,024 characters become FailureReason of a training job
    output/message    first 1,024 bytes, UTF-8, become ExitMessage of a processing job

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html and
build-your-own-processing-container.html.
"""

import logging
import signal
import sysconfig
import traceback
from pathlib import Path

from ..errors import TwofoldError
from .paths import Paths

FAILURE_CHARACTERS = 1024
MESSAGE_BYTES = 1024

_ELLIPSIS = "..."
_PACKAGE = Path(__file__).parent.parent
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_SIGNALS = {
    signal.SIGKILL: "perhaps out of memory: lower batch_size or take a bigger instance",
    signal.SIGTERM: "it was asked to stop",
    signal.SIGINT: "it was asked to stop",
    signal.SIGBUS: "perhaps out of shared memory (/dev/shm): use fewer workers",
    signal.SIGSEGV: "native code crashed",
    signal.SIGABRT: "native code gave up",
    signal.SIGILL: "native code needs a processor that this instance type does not have",
}

logger = logging.getLogger(__name__)


def write_failure(paths: Paths, text: str) -> bool:
    """Write the failure file, at most 1,024 characters of it, unless the user's code has written one already.

    Never raises: a job that fails must not fail over its failure file.

    Returns:
        Whether this text is now in the file.
    """
    if _has_content(paths.failure):
        logger.info("Kept %s as the user's code wrote it", paths.failure)
        return False
    if len(text) > FAILURE_CHARACTERS:
        text = text[: FAILURE_CHARACTERS - len(_ELLIPSIS)] + _ELLIPSIS
    return _write(paths.failure, text.encode("utf-8", "replace"))


def write_message(paths: Paths, text: str) -> bool:
    """Write the exit message of a processing job, at most 1,024 bytes of whole UTF-8 characters; never raises.

    Returns:
        Whether this text is now in the file.
    """
    content = text.encode("utf-8", "replace")
    if len(content) > MESSAGE_BYTES:
        kept = content[: MESSAGE_BYTES - len(_ELLIPSIS)].decode("utf-8", "ignore")
        content = (kept + _ELLIPSIS).encode("utf-8")
    return _write(paths.message, content)


def failure_text(error: BaseException, *, cause: str | None = None) -> str:
    """Put an error into words: `<cause>: <message>`, useful part first.

    Args:
        error: what ended the job.
        cause: class of the cause; None takes it from the error, or "internal" for one that nobody foresaw.

    Returns:
        For errors of ours the message; for others also their type and the last line of own code that they came through.
    """
    notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
    if isinstance(error, TwofoldError):
        return f"{cause or error.cause}: {error}{notes}"
    kind = type(error).__name__
    message = f"{kind}: {error}" if str(error) else kind
    return f"{cause or TwofoldError.cause}: {message}{notes}{_where(error)}"


def exit_code(error: BaseException) -> int:
    """Exit code of a process that ends with this error."""
    if isinstance(error, TwofoldError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 1


def signal_exit(returncode: int) -> tuple[int, str]:
    """Read the return code of a child.

    Args:
        returncode: as `subprocess` gives it: negative for a signal. A shell's 128 + signal is understood as well.

    Returns:
        Exit code to hand on (128 + signal for a signal), and what happened, as the end of a sentence about the child.
    """
    number = -returncode if returncode < 0 else returncode - 128
    if returncode >= 0 and number not in signal.valid_signals():
        return returncode, f"ended with exit code {returncode}"
    try:
        name = signal.Signals(number).name
        hint = _SIGNALS.get(signal.Signals(number))
    except ValueError:
        name, hint = "a signal", None
    return 128 + number, f"was killed by {name} (signal {number})" + (f": {hint}" if hint else "")


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    own = [frame for frame in frames if _is_own(Path(frame.filename))]
    frame = (own or frames)[-1]
    line = f": {frame.line}" if frame.line else ""
    return f" (at {frame.filename}:{frame.lineno} in {frame.name}{line})"


def _is_own(file: Path) -> bool:
    """Tell whether a file is the user's or ours, rather than a library's."""
    return file.is_relative_to(_PACKAGE) or not any(file.is_relative_to(folder) for folder in _LIBRARIES)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _write(path: Path, content: bytes) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        logger.warning("%s cannot be written (%s); it was to say: %s", path, error, content.decode("utf-8"))
        return False
    return True
