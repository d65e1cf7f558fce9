"""What class of fault an error belongs to that nobody raised on purpose, and what to do about it.

    user code        an exception that came through a file of the user's, a module that is not there
    data             bytes of a channel that cannot be read
    memory           of the host or of a device
    shared memory    /dev/shm
    disk             full, or over its quota
    network          a name that does not resolve, a peer that went away
    platform         the machine
    internal         a fault of ours

Torch is known by the names of its exceptions alone: the parent of the ranks, and `prepare`, run without it.
"""

import builtins
import errno
import re
import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import PlatformError, TwofoldError

_PACKAGE = Path(__file__).parent.parent
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


@dataclass(frozen=True, slots=True)
class Cause:
    """The class of a fault."""

    name: str
    """As the failure file starts."""
    hint: str = ""
    """What to change, a sentence; empty where the message says it or nobody can know."""


USER_CODE = Cause("user code")
MODULE = Cause("user code", "Add the module to requirements.txt beside the script, or send it in source_dir.")
HOST_MEMORY = Cause("memory", "Lower 'batch_size', use fewer processes, or take an instance with more memory.")
DEVICE_MEMORY = Cause("memory", "Lower 'micro_batch_size', use precision 'bf16', or take a GPU with more memory.")
SHARED_MEMORY = Cause("shared memory", "Use fewer loader workers (0 needs none), or `docker run --shm-size` locally.")
DISK = Cause("disk", "Raise VolumeSizeInGB (volume_size), keep less, or read the channel in FastFile mode.")
NETWORK = Cause("network", "Check that every host is up, and the security groups and routes of the VPC.")
PLATFORM = Cause("platform", "Start the job again, on another instance.")
INTERNAL = Cause(TwofoldError.cause)

_BY_NUMBER = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), DISK),
    **dict.fromkeys((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN), NETWORK),
    errno.ENOMEM: HOST_MEMORY,
    errno.EIO: PLATFORM,
}
_BY_TYPE = {
    "MemoryError": HOST_MEMORY,
    "OutOfMemoryError": DEVICE_MEMORY,
    "DistNetworkError": NETWORK,
    "DistStoreError": NETWORK,
    "gaierror": NETWORK,
    "ConnectionError": NETWORK,
    "TimeoutError": NETWORK,
    "EndpointConnectionError": NETWORK,
    "HTTPClientError": NETWORK,
}
"""By the name of a type or one that it derives from; the last two are botocore's."""
_BY_WORDS = {
    re.compile(r"/dev/shm|</?torch_|shared memory|bus error", re.IGNORECASE): SHARED_MEMORY,  # noqa: S108
    re.compile(r"(cuda|hip).*out of memory", re.IGNORECASE): DEVICE_MEMORY,
    re.compile(r"can't allocate memory|signal: killed", re.IGNORECASE): HOST_MEMORY,
    re.compile(r"no space left on device|file too large", re.IGNORECASE): DISK,
}
_NUMBER = re.compile(r"\[Errno (\d+)\]")
_SPEAKING = {"OSError", "RuntimeError", "SafetensorError", "ArrowException"}
"""Types whose message is all that native code says of what ran out."""


def cause_of(error: BaseException) -> Cause:
    """Tell the class of an error: by itself, else by what it was raised from, else by whose code it came through."""
    for link in _chain(error):
        if isinstance(link, TwofoldError):
            return _inside(link)
        if found := _resource(link):
            return found
    if isinstance(error, ImportError):
        return MODULE
    return USER_CODE if users_frame(error) else INTERNAL


def _inside(error: TwofoldError) -> Cause:
    """Class of an error of ours: its own word, unless it tells of the user's code or of what a machine ran out of."""
    inner = error.__cause__
    if inner is not None and users_frame(inner):
        return cause_of(inner)
    found = _resource(inner) if inner is not None and isinstance(error, PlatformError) else None
    return Cause(found.name if found else error.cause)


def cause_of_text(text: str) -> Cause:
    """Tell the class of an exception of a script, from the line of its traceback that says it: `Type: message`."""
    name, _, message = text.partition(": ")
    kind = name.rpartition(".")[2]
    known = getattr(builtins, kind, None)
    kinds = [each.__name__ for each in known.__mro__] if isinstance(known, type) else [kind]
    number = _NUMBER.match(message) if "OSError" in kinds else None
    found = _kind_of_resource(kinds, message, int(number[1]) if number else None)
    return found or (MODULE if "ImportError" in kinds else USER_CODE)


def users_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Last line of the user's own code that an error, or what it was raised from, came through."""
    frames = [frame for link in _chain(error) for frame in traceback.extract_tb(link.__traceback__)]
    return next((frame for frame in reversed(frames) if is_users(frame.filename)), None)


def own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Last line that an error came through of the user's code, else of ours, else of anyone's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    return users_frame(error) or next(iter([*reversed(ours), *reversed(frames)]), None)


def is_users(file: str) -> bool:
    """Tell whether a file is the user's, rather than ours, a library's or the interpreter's."""
    path = Path(file)
    return not file.startswith("<") and not any(path.is_relative_to(folder) for folder in (_PACKAGE, *_LIBRARIES))


def _chain(error: BaseException) -> list[BaseException]:
    chain, link = [error], error.__cause__
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__
    return chain


def _resource(error: BaseException) -> Cause | None:
    """Class of an error that tells what ran out or went away."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return _kind_of_resource(kinds, str(error), error.errno if isinstance(error, OSError) else None)


def _kind_of_resource(kinds: Sequence[str], message: str, number: int | None) -> Cause | None:
    if not _SPEAKING.isdisjoint(kinds):
        for words, cause in _BY_WORDS.items():
            if words.search(message):
                return cause
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    return next((_BY_TYPE[kind] for kind in kinds if kind in _BY_TYPE), None)
