"""The results as dated markdown: tables with ratios to ours, goals, hardware, versions, command, what is missing."""

from collections.abc import Iterator

from cases import CASES

SHOWN = (
    "torch",
    "numpy",
    "pillow",
    "simplejpeg",
    "pyarrow",
    "mosaicml-streaming",
    "webdataset",
    "litdata",
    "tfrecord",
    "datasets",
    "torchdata",
)
MISSING = """\
- No GPU, no network, no cold page cache: every file was read once just before each run.
- One process as one rank. No augmentation, no copy to a device.
- Peers at the settings shown; none was tuned beyond its documentation (except that labels and features are stacked with
  numpy, and arrays are stored as raw bytes where that made the peer faster).
- Writing speed is not compared.
"""


def markdown(run: dict) -> str:
    """The whole page."""
    parts = [f"# Streaming loaders side by side, {run['date']}\n", *head(run)]
    for name in run["records"]:
        parts += [f"## {CASES[name].title}\n", *table([row for row in run["rows"] if row["case"] == name])]
        parts += list(goals(name, [row for row in run["rows"] if row["case"] == name]))
    parts += ["## What was not measured\n", MISSING]
    if run["failures"]:
        parts += ["## What failed\n", *(f"- {name}: `{text[:300]}`" for name, text in run["failures"].items())]
    return "\n".join(parts) + "\n"


def head(run: dict) -> Iterator[str]:
    """How it was measured."""
    yield f"- Machine: {run['hardware']}"
    yield f"- Commit: {run['commit']}"
    yield f"- Command: `{run['command']}`"
    counts = ", ".join(f"{name} {records:,}" for name, records in run["records"].items())
    yield f"- Records: {counts}; page cache warm; shuffled unless the row says otherwise"
    yield (
        f"- Each rate is the median of {run['rounds']} runs of {run['seconds']:g} s after a warm-up, all loaders in"
        " turn, starts of epochs included"
    )
    seen: dict[str, set[str]] = {}
    for packages in run["versions"].values():
        for package, version in packages.items():
            if package in SHOWN or package == "python":
                seen.setdefault(package, set()).add(version)
    yield "- Versions: " + ", ".join(f"{name} {'/'.join(sorted(v))}" for name, v in sorted(seen.items())) + "\n"


def table(rows: list[dict]) -> Iterator[str]:
    """One case."""
    best = max((row["rate"] for row in rows if row["kind"] == "ours"), default=None)
    yield "| | samples/s | ours is | runs, lowest to highest | first batch, s | peak anonymous (shared) MB | verified |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for row in sorted(rows, key=lambda row: -row["rate"]):
        ratio = f"{best / row['rate']:.2f} x" if best else ""
        low, high = rounded(min(row["rates"])), rounded(max(row["rates"]))
        memory = f"{row['anonymous'] / 1e6:.0f} ({row['shared'] / 1e6:.0f})"
        yield (
            f"| {row['title']} | {rounded(row['rate'])} | {ratio} | {low} to {high} | {row['first']:.2f} | {memory}"
            f" | {verified(row['checked'])} |"
        )
    yield ""


def rounded(rate: float) -> str:
    """Three figures."""
    if rate >= 1e6:
        return f"{rate / 1e6:.3g} M"
    return f"{float(f'{rate:.3g}'):,.0f}"


def verified(checked: dict) -> str:
    """What the comparison with the source has shown."""
    if not checked:
        return "-"
    text = "equal" if not checked["difference"] else f"pixels within {checked['difference']}"
    if not checked["whole"]:
        return f"{checked['checked']:,} records {text}"
    once = "each once" if checked["once"] else "NOT each once"
    return f"epoch {text}, {once}{', in order' if checked['ordered'] else ''}"


def goals(name: str, rows: list[dict]) -> Iterator[str]:
    """Ratios that the issue asks for."""
    best: dict[str, float] = {}
    for row in rows:
        best[row["kind"]] = max(best.get(row["kind"], 0.0), row["rate"])
    if not best.get("ours"):
        return
    peers = {"library": best.get("library", 0.0), "loader": max(best.get("library", 0.0), best.get("loader", 0.0))}
    peers["any"] = max(peers["loader"], best.get("ordered", 0.0))
    asked = {
        "float32": (("library", "streaming and format libraries", 50.0), ("loader", "loaders that shuffle", 2.0)),
        "uint8": (("library", "streaming and format libraries", 20.0), ("loader", "loaders that shuffle", 2.0)),
        "jpeg": (("library", "streaming and format libraries", 1.5), ("any", "peers, those with simplejpeg too", 1.5)),
    }[name]
    for kind, words, goal in asked:
        if peers[kind]:
            yield f"- {best['ours'] / peers[kind]:.2f} times the best of the {words} (asked: {goal:g})"
    if best.get("limit"):
        limit = "the decoder's own limit on all cores" if name == "jpeg" else "numpy's random take"
        yield f"- {best['ours'] / best['limit']:.2f} of {limit} (asked: 0.8)"
    yield ""
