"""Lets native threads that wait for the interpreter have it before it is taken down, at the end of a user's script.

    gloo's thread   ends a collective, and waits for the interpreter to drop Python's part of it ──┐
    the script      ends within a few milliseconds of that; the interpreter is taken down          ├─→ abort, code 134
                    the thread is unwound through C++: `terminate called without an active ...`  ──┘

A script may have saved all it had and still end like that, if its rank does nothing after its last collective.
Importing this module puts a look at those threads behind all that is registered to run at exit, as long as it is
imported first: `sitecustomize.py` does so in every Python that script mode starts, `twofold.pth` in every one of the
image. It costs such a start about a millisecond, and needs nothing but Python.

Source: https://github.com/pytorch/pytorch/pull/179291, which would mend it in torch and was given up; seen with 2.13.
"""

# ruff: noqa: PTH123, PTH208 - every Python of the image loads this, and pathlib would cost it more than all of this does
import atexit
import os
import time

_THREAD = b"pt_gloo_runloop\n"
"""What torch calls the threads that run gloo's collectives (ProcessGroupGloo.cpp)."""
_LOOK_S = 0.01
"""Twice the time after which a thread that waits for the interpreter wakes to ask for it."""
_LIMIT_S = 1.0


def settle() -> None:
    """Return once none of gloo's threads wants the interpreter, in 20 ms as a rule; at once where there are none."""
    before: list[bytes] = []
    end = time.monotonic() + _LIMIT_S
    while (now := _threads()) and time.monotonic() < end:
        if now == before and all(b"\nState:\tS" in status for status in now):
            return
        before = now
        time.sleep(_LOOK_S)  # without the interpreter, which whoever waits for it has meanwhile


def _threads() -> list[bytes]:
    """State and counts of switches of gloo's threads: one that waits for the interpreter wakes again and again."""
    found: list[bytes] = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm", "rb") as name:
                if name.read() != _THREAD:
                    continue
            with open(f"/proc/self/task/{task}/status", "rb") as status:
                found.append(status.read())
        except OSError:  # it has ended
            continue
    return found


atexit.register(settle)
