"""How many samples a second does each loader give, on the same records, and in how much memory?

    python benchmarks/venvs.py stream --venvs .cache/peers
    python benchmarks/stream/throughput.py --venvs .cache/peers

Every peer's data is written by its own writer (once, below --work), every loader's batches are compared with the
source, then all loaders run in turn, --rounds times; the table has medians. Run it on a quiet machine.
"""

import argparse
import datetime as dt
import json
import re
import shutil
import statistics
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import machine
import report
from cases import CASES, Case, Source
from child import case_of
from roster import ROSTER, Entry

CHILD = Path(__file__).with_name("child.py")
WRITE_TIMEOUT = 3600.0


@dataclass(slots=True)
class Bench:
    """One run of the benchmark."""

    work: Path
    venvs: Path
    ours: Path
    seconds: float
    warm_up: float
    verify_seconds: float
    failures: dict[str, str] = field(default_factory=dict)

    def folder(self, case: Case, name: str) -> Path:
        """Where a peer's data lie."""
        return self.work / f"{case.name}-{case.records}" / name

    def python(self, entry: Entry) -> Path:
        """The interpreter that an entry runs in."""
        return self.ours if entry.venv == "ours" else self.venvs / entry.venv / "bin" / "python"

    def child(self, do: str, entry: Entry, case: Case, seconds: float, timeout: float) -> machine.Run:
        """Run `child.py` for an entry.

        Raises:
            machine.Failed: the child has failed.
        """
        command = [str(self.python(entry)), str(CHILD), do, "--module", entry.module, "--loader", entry.loader]
        command += ["--options", json.dumps(entry.options), "--case", case.name, "--records", str(case.records)]
        command += ["--source", str(self.folder(case, "source")), "--data", str(self.folder(case, entry.folder))]
        command += ["--seconds", str(seconds), "--warm-up", str(self.warm_up)]
        return machine.run(command, machine.environ(self.work), timeout)

    def prepare(self, entry: Entry, case: Case) -> None:
        """Write the data of an entry unless they are there."""
        folder = self.folder(case, entry.folder)
        done = folder.with_name(folder.name + ".done")
        if done.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        if entry.folder == "source":
            Source(case, folder).make()
        else:
            self.child("write", entry, case, 0.0, WRITE_TIMEOUT)
        done.touch()

    def verify(self, entry: Entry, case: Case) -> dict[str, object]:
        """Compare what an entry yields with the source; of peers a whole epoch that was equal is remembered."""
        adapter = CHILD.parent / "peers" / f"{entry.module}.py"
        told = f"{entry.name} {adapter.read_text()} {CHILD.read_text()}"
        kept = self.folder(case, f"verified-{zlib.crc32(told.encode()):08x}.json")
        if kept.exists():
            return json.loads(kept.read_text())
        result = self.child("verify", entry, case, self.verify_seconds, self.verify_seconds * 3 + 120).result
        if result["whole"] and entry.kind != "ours":
            kept.write_text(json.dumps(result))
        return result

    def rate(self, entry: Entry, case: Case) -> machine.Run:
        """Time an entry once."""
        machine.warm(self.folder(case, entry.folder))
        return self.child("rate", entry, case, self.seconds, self.seconds * 10 + 120)


def main() -> None:
    """Measure, print the table, write it down."""
    args = arguments()
    bench = Bench(
        args.work.resolve(),
        args.venvs.absolute(),
        args.ours.absolute(),
        args.seconds,
        args.warm_up,
        args.verify_seconds,
    )
    cases = [case_of(name, int(CASES[name].records * args.scale)) for name in args.cases]
    rows = []
    for case in cases:
        rows += list(measure(bench, case, [e for e in ROSTER if case.name in e.cases and chosen(e, args)], args.rounds))
    run = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "hardware": machine.hardware(),
        "commit": commit(),
        "command": "python benchmarks/stream/throughput.py " + " ".join(arguments_shown(args)),
        "versions": {entry.venv: versions(bench.python(entry)) for entry in ROSTER if chosen(entry, args)},
        "rounds": args.rounds,
        "seconds": args.seconds,
        "records": {case.name: case.records for case in cases},
        "rows": rows,
        "failures": bench.failures,
    }
    text = report.markdown(run)
    sys.stdout.write(text)
    (bench.work / "throughput.json").write_text(json.dumps(run, indent=1))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--venvs", type=Path, default=Path(".cache/peers"), help="made by venvs.py (default .cache/peers)"
    )
    parser.add_argument("--ours", type=Path, default=Path(sys.executable), help="Python with twofold (default: this)")
    parser.add_argument("--work", type=Path, default=Path("build/bench/stream"), help="data (default %(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--only", default="", help="pattern of the names of entries, e.g. 'ours|litdata'")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the records, for a quick look")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each entry, in turn (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in a run (default %(default)s)")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before that (default %(default)s)")
    parser.add_argument("--verify-seconds", type=float, default=300.0, help="at most, per entry (default %(default)s)")
    parser.add_argument("--out", type=Path, help="markdown file to write, e.g. benchmarks/results/<date>-stream.md")
    return parser.parse_args()


def arguments_shown(args: argparse.Namespace) -> Iterator[str]:
    """The options that change the result; no paths of this machine."""
    for name in ("cases", "only", "scale", "rounds", "seconds", "warm_up", "verify_seconds"):
        value = getattr(args, name)
        if value != "":
            yield f"--{name.replace('_', '-')} " + (" ".join(value) if isinstance(value, list) else str(value))


def chosen(entry: Entry, args: argparse.Namespace) -> bool:
    """Whether --only names an entry."""
    return re.search(args.only, entry.name) is not None


def measure(bench: Bench, case: Case, entries: list[Entry], rounds: int) -> Iterator[dict[str, object]]:
    """Write, verify and time the entries of a case; one row of results each."""
    source = Entry("", "mapped", "", "ours", "source")
    bench.prepare(source, case)
    checked: dict[str, dict[str, object]] = {}
    for entry in entries:
        try:
            bench.prepare(entry, case)
            checked[entry.name] = bench.verify(entry, case) if entry.once else {}
            say(f"{case.name} {entry.name}: {checked[entry.name] or 'has nothing to verify'}")
        except machine.Failed as error:
            bench.failures[f"{case.name} {entry.name}"] = str(error)
            say(f"{case.name} {entry.name} FAILED: {error}")
    runs: dict[str, list[machine.Run]] = {name: [] for name in checked}
    for _ in range(rounds):
        for entry in entries:
            if entry.name not in checked:
                continue
            try:
                runs[entry.name].append(bench.rate(entry, case))
            except machine.Failed as error:
                bench.failures[f"{case.name} {entry.name}"] = str(error)
                say(f"{case.name} {entry.name} FAILED: {error}")
                continue
            say(f"{case.name} {entry.name}: {runs[entry.name][-1].result['rate']:,.0f}/s")
    for entry in entries:
        if runs.get(entry.name):
            yield row(case, entry, checked[entry.name], runs[entry.name])


def row(case: Case, entry: Entry, checked: dict[str, object], runs: list[machine.Run]) -> dict[str, object]:
    """What is known of an entry in a case."""
    rates = [float(run.result["rate"]) for run in runs]
    return {
        "case": case.name,
        "name": entry.name,
        "title": entry.title,
        "kind": entry.kind,
        "checked": checked,
        "rates": rates,
        "rate": statistics.median(rates),
        "first": statistics.median(float(run.result["first"]) for run in runs),
        "anonymous": max(run.anonymous for run in runs),
        "shared": max(run.shared for run in runs),
    }


def versions(python: Path) -> dict[str, str]:
    """Packages of an environment."""
    code = (
        "import importlib.metadata as m, json, platform;"
        "print(json.dumps({'python': platform.python_version(), **{d.name: d.version for d in m.distributions()}}))"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def commit() -> str:
    """The commit that was measured, marked if files differ from it."""
    here = Path(__file__).parent
    command = [shutil.which("git") or "git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def say(line: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
