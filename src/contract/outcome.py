"""How a job ends: exit code, failure file, message of a processing job.

    output/failure    first 1,024 characters become FailureReason of a training job
    output/message    first 1,024 bytes, UTF-8, become ExitMessage of a processing job

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html and
build-your-own-processing-container.html.
"""

import contextlib
import logging
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path

from ..errors import TwofoldError
from .causes import cause_of, own_frame, users_frame
from .paths import Paths

FAILURE_CHARACTERS = 1024
MESSAGE_BYTES = 1024

_ROOM, _ROOM_BYTES = ".room-for-failure", 4096
"""File beside the failure file that gives way to it: a job that has filled its disk can still say so."""

_ELLIPSIS = "..."
_SAID_CHARACTERS, _LINE_CHARACTERS = 500, 120
"""Most that a failure file has of an error's own message, and of a line of code: place and hint must follow."""
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


@contextlib.contextmanager
def room_for_failure(paths: Paths) -> Iterator[None]:
    """Keep room on the disk for the failure file while a job runs, where there is any."""
    with contextlib.suppress(OSError):
        (paths.output / _ROOM).write_bytes(bytes(_ROOM_BYTES))
    try:
        yield
    finally:
        _give_room(paths)


def write_failure(paths: Paths, text: str) -> bool:
    """Write the failure file, at most 1,024 characters of it, unless the user's code has written one already.

    Never raises: a job that fails must not fail over its failure file.

    Returns:
        Whether this text is now in the file.
    """
    if _has_content(paths.failure):
        logger.info("Kept %s as the user's code wrote it", paths.failure)
        return False
    _give_room(paths)
    return _write(paths.failure, _shortened(text, FAILURE_CHARACTERS).encode("utf-8", "replace"))


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


def failure_text(error: BaseException, *, who: str = "", cause: str | None = None) -> str:
    """Put an error into words: `<cause>: <message>`, useful part first.

    Args:
        error: what ended the job.
        who: process that it ended, e.g. `rank 1`; errors of ours tell of the job, not of one process.
        cause: class of the cause; None finds it out.

    Returns:
        For errors of ours the message; for others also their type, the last line of the user's code that they came
        through (else of ours), and what to do.
    """
    found = cause_of(error)
    head = f"{cause or found.name}: "
    notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
    hint = f". {found.hint}" if found.hint and cause is None else ""
    if isinstance(error, TwofoldError):
        inner = users_frame(error.__cause__) if error.__cause__ else None
        return f"{head}{error}{notes}{_place(inner)}{hint}"
    kind = type(error).__name__
    said = f"{kind}: {error}" if str(error) else kind
    speaker = f"{who}: " if who else ""
    return f"{head}{speaker}{_shortened(said + notes, _SAID_CHARACTERS)}{_place(own_frame(error))}{hint}"


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


def _place(frame: traceback.FrameSummary | None) -> str:
    if frame is None:
        return ""
    line = f": {_shortened(frame.line, _LINE_CHARACTERS)}" if frame.line else ""
    return f" (at {frame.filename}:{frame.lineno} in {frame.name}{line})"


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - len(_ELLIPSIS)] + _ELLIPSIS


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _give_room(paths: Paths) -> None:
    with contextlib.suppress(OSError):
        (paths.output / _ROOM).unlink()


def _write(path: Path, content: bytes) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        logger.warning("%s cannot be written (%s); it was to say: %s", path, error, content.decode("utf-8"))
        return False
    return True
