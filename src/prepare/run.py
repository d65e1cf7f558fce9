"""A run of `prepare`, from the input to the index."""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..contract.paths import scratch
from ..errors import ConfigError, DataError
from ..stream.files import File
from . import finish
from .convert import Done
from .journal import Journal
from .options import Options
from .pool import Crew
from .progress import Progress
from .source import input_files, open_source
from .units import Unit, cut
from .writers import SUFFIXES

log = logging.getLogger("twofold.prepare")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has made."""

    shards: int
    records: int
    bytes: int
    skipped: int
    first_skipped: str | None

    def __str__(self) -> str:
        text = f"{self.shards} shards, {self.records} records, {self.bytes} bytes"
        return (
            f"{text}; skipped {self.skipped} broken records, the first: {self.first_skipped}" if self.skipped else text
        )


def prepare(options: Options, *, workers: int, resume: bool, environ: Mapping[str, str]) -> Summary:
    """Make shards of the input, or go on where an earlier run was stopped.

    Raises:
        ConfigError: the output holds something else, or another run.
        DataError: the input cannot be read.
        Stopped: by a signal; what is whole stays.
    """
    _check_places(options)
    files = input_files(options.input)
    if not files and not (options.sharded and options.hosts > 1):
        raise DataError(f"{options.input} is empty: no file that is data. Expected at least one: correct IN.")
    journal = Journal(options)
    done = {entry.unit: entry for entry in _begin(options, journal, files, resume=resume)}
    schema = {}
    if files:
        with tempfile.TemporaryDirectory(prefix="twofold-", dir=scratch()) as folder:
            opened = open_source(options, files, Path(folder))
            schema = opened.schema
            units = cut(options, opened.source)
            try:
                told = {
                    "options": options.model_dump(mode="json"),
                    "files": [(file.name, str(file.path), file.size) for file in files],
                    "learned": asdict(opened.learned),
                    "scratch": folder,
                }
                _make(options, Crew(told, workers, dict(environ)), units, done, journal)
            finally:
                _remove(_partials(options))
    made = [done[number] for number in sorted(done)]
    finish.write(options, made, schema)
    journal.remove()
    return _summary(made)


def _make(options: Options, crew: Crew, units: list[Unit], done: dict[int, Done], journal: Journal) -> None:
    """Have the workers make what is missing."""
    missing = [unit for unit in units if unit.number not in done]
    sizes = {unit.number: unit.stop - unit.start for unit in units}
    total, before = sum(sizes.values()), sum(sizes[number] for number in done)
    log.info(
        "%s -> %s: %d shards of %s, %d to be made, %d workers",
        options.input,
        options.output,
        len(units),
        options.format,
        len(missing),
        min(crew.size, len(missing)),
    )
    with Progress(total, len(units), before=before, shards_before=len(done)) as progress:

        def note(entry: Done) -> None:
            journal.add(entry)
            done[entry.unit] = entry
            progress.unit_done(sizes[entry.unit])

        crew.run(missing, done=note, progress=progress.under_way)


def _begin(options: Options, journal: Journal, files: list[File], *, resume: bool) -> list[Done]:
    """Go on where an earlier run was stopped, or make room for a new one."""
    if resume and journal.begun and not journal.is_empty:
        done = journal.resume(files)
        log.info("going on after %d shards that are whole", len(done))
        _remove(_partials(options))
        return done
    if not resume or journal.begun:
        _remove(list(_own(options)))
        shutil.rmtree(journal.folder, ignore_errors=True)
    present = [path for path in options.output.rglob("*") if path.is_file() and not _hidden(options, path)]
    if present:
        hint = "Choose another folder" + (", or replace what is there with --no-resume." if resume else ".")
        raise ConfigError(
            f"{options.output} holds {len(present)} files such as {present[0].name}, and no run to go on with. "
            f"Expected an empty folder. {hint}"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    journal.begin(files)
    return []


def _own(options: Options) -> Iterator[Path]:
    """Files that a run with these options may have made."""
    for folder in (options.output, options.output / "train", options.output / "validation"):
        yield from folder.glob(options.index_name)
        for suffix in SUFFIXES.values():
            yield from folder.glob(f"{options.prefix}*.{suffix}")
            yield from folder.glob(f".{options.prefix}*.{suffix}.index.npy")
    yield from _partials(options)


def _partials(options: Options) -> list[Path]:
    folders = [options.output / split for split in options.splits]
    return [path for folder in folders for path in folder.glob(f".{options.prefix}*.partial*")]


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _hidden(options: Options, path: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(options.output).parts)


def _check_places(options: Options) -> None:
    source, target = options.input.resolve(), options.output.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise ConfigError(
            f"IN is {options.input} and OUT {options.output}, one within the other. Expected two folders apart, or the "
            f"shards would be input themselves: choose another OUT."
        )


def _summary(made: list[Done]) -> Summary:
    shards = [shard for entry in made for shard in entry.shards]
    return Summary(
        len(shards),
        sum(shard.records for shard in shards),
        sum(shard.bytes for shard in shards),
        sum(entry.skipped for entry in made),
        next((entry.first_skipped for entry in made if entry.first_skipped), None),
    )
