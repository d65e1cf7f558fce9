"""What a run has finished, so that one that was killed goes on where it was.

OUT/.prepare-HOST/inputs      one line a file of the input: size, time of change, name
OUT/.prepare-HOST/journal     a line of arguments, then a line for each unit that is done
"""

import json
import os
import shutil
from typing import Any

from ..errors import ConfigError
from ..stream.files import File
from .convert import Done
from .options import Options

_FORM = 1


class Journal:
    """The journal of one host's run."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.folder = options.output / f".prepare-{options.host:03d}"
        self._path, self._inputs = self.folder / "journal", self.folder / "inputs"

    @property
    def begun(self) -> bool:
        """Whether there is an earlier run that did not come to its end."""
        return self._inputs.is_file() and self._path.is_file()

    @property
    def is_empty(self) -> bool:
        """Whether that run had nothing to show, so that nobody minds if the next one is another."""
        return self._path.read_bytes().count(b"\n") < 2

    def begin(self, files: list[File]) -> None:
        """Start anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._inputs.write_text("".join(f"{line}\n" for line in _lines(files)), encoding="utf-8")
        partial = self.folder / "journal.partial"
        partial.write_text(json.dumps({"form": _FORM, "arguments": self._options.arguments}) + "\n", encoding="utf-8")
        partial.replace(self._path)

    def resume(self, files: list[File]) -> list[Done]:
        """Read what is done.

        Raises:
            ConfigError: the arguments or the input differ from those of the run that began; names what does.
        """
        lines = self._path.read_bytes().split(b"\n")
        head = json.loads(lines[0])
        arguments = json.loads(json.dumps(self._options.arguments))
        for name in sorted(arguments.keys() | head.get("arguments", {}).keys()):
            before, now = head.get("arguments", {}).get(name), arguments.get(name)
            if before != now or head.get("form") != _FORM:
                raise _refused(self._options, f"{name} was {before}, now it is {now}")
        self._compare(files)
        # What follows the last line feed is torn: the run was killed while it wrote it.
        done = [Done.from_json(json.loads(line)) for line in lines[1:-1]]
        whole = b"".join(line + b"\n" for line in lines[:-1])
        os.truncate(self._path, len(whole))
        return [entry for entry in done if self._is_there(entry)]

    def add(self, done: Done) -> None:
        """Take note of a unit, in one write."""
        with self._path.open("ab") as out:
            out.write(json.dumps(done.to_json()).encode() + b"\n")

    def remove(self) -> None:
        """Forget the run: it is complete."""
        shutil.rmtree(self.folder)

    def _compare(self, files: list[File]) -> None:
        now = _lines(files)
        before = self._inputs.read_text(encoding="utf-8").splitlines()
        if now == before:
            return
        old, new = (dict(_named(line) for line in lines) for lines in (before, now))
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                kind = "is new" if name not in old else "has vanished" if name not in new else "has changed"
                raise _refused(self._options, f"the input's file {name} {kind}")

    def _is_there(self, done: Done) -> bool:
        for shard in done.shards:
            path = self._options.output / shard.split / shard.name
            if not path.is_file() or path.stat().st_size != shard.bytes:
                return False
        return True


def _lines(files: list[File]) -> list[str]:
    return [f"{file.size} {file.path.stat().st_mtime_ns} {json.dumps(file.name)}" for file in files]


def _named(line: str) -> tuple[Any, str]:
    size, time, name = line.split(" ", 2)
    return json.loads(name), f"{size} {time}"


def _refused(options: Options, difference: str) -> ConfigError:
    return ConfigError(
        f"{options.output} holds a run that was not finished, and {difference}. Expected the same arguments and input "
        f"to go on: restore them, or begin anew with --no-resume."
    )
