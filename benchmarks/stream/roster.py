"""Who takes part: one row of the table each, with the environment it runs in and how it is set."""

from dataclasses import dataclass, field

FIXED = ("float32", "uint8")
EVERY = (*FIXED, "jpeg")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table."""

    title: str
    module: str
    """Adapter, a module of `peers`."""
    kind: str
    """ours | library (streaming and format libraries) | loader (loaders that shuffle) | ordered | limit."""
    venv: str
    """Name of its virtual environment (`venvs.py`)."""
    folder: str
    """Name of its data's folder; entries may share one. "source": reads the source itself."""
    cases: tuple[str, ...] = EVERY
    loader: str = "loader"
    """Function of the adapter."""
    options: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Short and unique."""
        words = [self.module, self.loader, self.folder, *(f"{k}={v}" for k, v in self.options.items())]
        return " ".join(words)

    @property
    def once(self) -> bool:
        """Whether its batches have pixels or rows that can be compared with the source."""
        return self.loader != "alone"


def both(title: str, module: str, kind: str, venv: str, **more: object) -> list[Entry]:
    """A peer in the main process and with two worker processes."""
    options = dict(more.pop("options", {}))
    folder = str(more.pop("folder", module))
    return [
        Entry(f"{title}, {n} workers", module, kind, venv, folder, options={"workers": n, **options}, **more)
        for n in (0, 2)
    ]


def ours(form: str, title: str, cases: tuple[str, ...]) -> Entry:
    """Our loader on one format."""
    return Entry(f"**twofold**, {title}", "ours", "ours", "ours", f"ours-{form}", cases, options={"form": form})


ROSTER: list[Entry] = [
    ours("recordio", "RecordIO-protobuf", FIXED),
    ours("tfrecord", "TFRecord", FIXED),
    ours("parquet", "Parquet", FIXED),
    ours("tar", "tar", ("jpeg",)),
    ours("folder", "folder of images", ("jpeg",)),
    Entry("numpy take of random rows", "mapped", "limit", "torchdata", "source", FIXED, "take", {"workers": 0}),
    Entry(
        "pillow alone, 2 processes",
        "mapped",
        "limit",
        "torchdata",
        "source",
        ("jpeg",),
        "alone",
        {"workers": 2, "decoder": "pillow", "processes": True},
    ),
    *(
        Entry(
            f"{decoder} alone, 2 threads",
            "mapped",
            "limit",
            "torchdata",
            "source",
            ("jpeg",),
            "alone",
            {"workers": 2, "decoder": decoder},
        )
        for decoder in ("pillow", "simplejpeg")
    ),
    *both("memory map or files + `__getitems__` in DataLoader", "mapped", "loader", "torchdata", folder="source"),
    *both(
        "files + `__getitems__` in DataLoader, simplejpeg",
        "mapped",
        "loader",
        "torchdata",
        folder="source",
        cases=("jpeg",),
        options={"decoder": "simplejpeg"},
    ),
    Entry(
        "torchdata nodes, batch fetch, 2 threads",
        "mapped",
        "loader",
        "torchdata",
        "source",
        loader="nodes",
        options={"workers": 2},
    ),
    Entry(
        "torchdata nodes, batch fetch, 2 threads, simplejpeg",
        "mapped",
        "loader",
        "torchdata",
        "source",
        ("jpeg",),
        "nodes",
        {"workers": 2, "decoder": "simplejpeg"},
    ),
    Entry("Parquet through pyarrow, no shuffle", "parquet", "ordered", "pyarrow", "parquet", options={"workers": 0}),
    *both("Hugging Face datasets", "huggingface", "loader", "huggingface", options={"shuffle": True}),
    *both(
        "Hugging Face datasets, arrow format",
        "huggingface",
        "loader",
        "huggingface",
        cases=FIXED,
        options={"shuffle": True, "form": "arrow"},
    ),
    *(
        Entry(
            f"Hugging Face datasets, {form} format, no shuffle",
            "huggingface",
            "ordered",
            "huggingface",
            "huggingface",
            cases,
            options={"workers": 0, "shuffle": False, "form": form},
        )
        for form, cases in (("torch", EVERY), ("arrow", FIXED))
    ),
    *both("litdata", "litdata", "library", "litdata"),
    *both("tfrecord", "tfrecord", "library", "tfrecord"),
    *both("webdataset", "webdataset", "library", "webdataset"),
    *both("mosaicml-streaming", "mosaicml", "library", "mosaicml"),
]
