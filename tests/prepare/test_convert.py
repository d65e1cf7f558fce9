"""Every kind of input in every format that is written, read back: the values are the same."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from twofold.formats import aialgs, csv, images, tar, tfrecord, webdataset

FORMATS = ("recordio", "tfrecord", "tar", "parquet", "npy")
VECTORS = ("csv", "libsvm", "jsonl", "parquet", "recordio", "tfrecord", "prepared")
PICTURES = ("images", "tar")
ROWS, WIDTH, CLASSES = 300, 6, 3


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    features = rng.integers(-8, 8, (ROWS, WIDTH)).astype(np.float32) / 4
    features[:, -1] = 1.5  # LibSVM leaves zeros out, but the last column gives the width
    return rng.integers(0, CLASSES, ROWS).astype(np.float32), features


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (24, 5, 7, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def inputs(table, pixels, tmp_path_factory, prepare):
    root = tmp_path_factory.mktemp("inputs")
    labels, features = table
    folders = {name: root / name for name in (*VECTORS, *PICTURES, "header")}
    for name, folder in folders.items():
        if name != "prepared":
            folder.mkdir()
    both = [(label, row) for label, row in zip(labels, features, strict=True)]
    halves = both[: ROWS // 2], both[ROWS // 2 :]
    for number, half in enumerate(halves):
        lines = [f"{int(y)} " + " ".join(f"{i}:{v:g}" for i, v in enumerate(x, 1) if v) for y, x in half]
        (folders["libsvm"] / f"{number}.libsvm").write_text("\n".join(lines) + "\n")
        lines = [json.dumps({"label": float(y), "features": x.tolist()}) for y, x in half]
        (folders["jsonl"] / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
        (folders["csv"] / f"{number}.csv").write_bytes(csv.encode(np.stack([np.r_[y, x] for y, x in half])))
        encode = aialgs.encode
        (folders["recordio"] / f"{number}.rec").write_bytes(
            b"".join(encode({"label": np.float32(y), "features": x}) for y, x in half)
        )
        (folders["tfrecord"] / f"{number}.tfrecord").write_bytes(
            b"".join(tfrecord.encode({"label": np.float32(y), "features": x}) for y, x in half)
        )
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), WIDTH)
    pq.write_table(
        pa.table({"label": labels, "features": vectors}), folders["parquet"] / "a.parquet", row_group_size=70
    )
    prepare(folders["csv"], folders["prepared"], "--format", "npy", "--shard-size", "2kB")
    for number, picture in enumerate(pixels):
        folder = folders["images"] / "abc"[number % CLASSES]
        folder.mkdir(exist_ok=True)
        (folder / f"{number:02d}.png").write_bytes(images.encode_png(picture))
    samples = [
        webdataset.encode({"__key__": f"{number:02d}", "png": picture, "cls": np.int64(number % CLASSES)[...]})
        for number, picture in enumerate(pixels)
    ]
    (folders["tar"] / "a.tar").write_bytes(b"".join(samples) + tar.END)
    cities = ["Bern", "St. Gallen", 'Zürich, "ZH"']
    lines = [f'{row[0]:g},{row[1]:g},"{cities[int(y)].replace(chr(34), chr(34) * 2)}",{y:g}' for y, row in both]
    (folders["header"] / "a.csv").write_text("age,income,city,bought\n" + "\n".join(lines) + "\n")
    return folders


@pytest.fixture(scope="module")
def outputs(inputs, prepare, tmp_path_factory):
    """All runs, some at a time."""
    root = tmp_path_factory.mktemp("outputs")
    with ThreadPoolExecutor(3) as threads:
        return {
            (source, kind): (
                root / f"{source}-{kind}",
                threads.submit(
                    prepare,
                    inputs[source],
                    root / f"{source}-{kind}",
                    "--format",
                    kind,
                    "--shard-size",
                    "3kB",
                    "--workers",
                    1,
                ),
            )
            for source, kind in product((*VECTORS, *PICTURES), FORMATS)
        }


@pytest.mark.slow
@pytest.mark.procs
@pytest.mark.parametrize(("source", "kind"), list(product(VECTORS, FORMATS)))
def test_vectors_come_back(source, kind, outputs, read_back, table, index_of):
    folder, run = outputs[source, kind]
    run.result()
    found = read_back(folder)
    names = ("label.npy", "features.npy") if kind == "tar" else ("label", "features")
    np.testing.assert_array_equal(np.array(found[names[0]]), table[0])
    np.testing.assert_array_equal(np.stack(found[names[1]]), table[1])
    index = index_of(folder)
    assert sum(shard["records"] for shard in index["shards"]) == ROWS
    assert len(index["shards"]) > 1
    assert (index["layout"] is not None) == (kind in {"recordio", "tfrecord", "npy"})
    assert index["statistics"]["records"] == ROWS


@pytest.mark.slow
@pytest.mark.procs
@pytest.mark.parametrize(("source", "kind"), list(product(PICTURES, FORMATS)))
def test_pictures_come_back(source, kind, outputs, read_back, pixels):
    """Formats read by stride hold pixels; the others hold the files, and an archive's are decoded when it is read."""
    folder, run = outputs[source, kind]
    run.result()
    found = read_back(folder)
    numbers = np.arange(len(pixels))
    if source == "images":
        numbers = numbers[np.argsort(numbers % CLASSES, kind="stable")]
    label, image = ("cls", "png") if kind == "tar" else ("label", "image")
    assert np.array(found[label]).tolist() == (numbers % CLASSES).tolist()
    pictures = found["features" if kind == "recordio" else image]
    if kind in {"tfrecord", "parquet"}:
        # Files of one length come back as rows of bytes, as any field of one size does.
        pictures = [images.decode(bytes(picture)) for picture in pictures]
    np.testing.assert_array_equal(np.stack(pictures), pixels[numbers])


@pytest.mark.procs
def test_a_column_becomes_the_label(inputs, prepare, read_back, table, tmp_path, index_of):
    """Numbers beside it become one vector; text stays a column of its own."""
    prepare(inputs["header"], tmp_path / "out", "--format", "recordio", "--label", "bought", "--shard-size", "4kB")
    found = read_back(tmp_path / "out")
    np.testing.assert_array_equal(np.array(found["label"]), table[0])
    np.testing.assert_array_equal(np.stack(found["features"]), table[1][:, :2])
    assert found["features/city"][:3] == [["Bern", "St. Gallen", 'Zürich, "ZH"'][int(y)] for y in table[0][:3]]
    index = index_of(tmp_path / "out")
    assert index["schema"]["fields"]["features"]["columns"] == ["age", "income"]
    assert {shard["name"] for shard in index["shards"]} == {
        path.name.removeprefix(".").removesuffix(".index.npy") for path in (tmp_path / "out").glob(".*.index.npy")
    }


@pytest.mark.procs
def test_names_of_columns_are_kept_without_a_label(inputs, prepare, read_back, table, tmp_path):
    prepare(inputs["header"], tmp_path / "out", "--format", "parquet")
    found = read_back(tmp_path / "out")
    assert list(found) == ["age", "income", "city", "bought"]
    np.testing.assert_array_equal(np.array(found["income"]), table[1][:, 1])


@pytest.mark.slow
@pytest.mark.procs
def test_images_in_an_archive_are_the_very_files(inputs, outputs):
    folder, run = outputs["images", "tar"]
    run.result()
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("*.tar")))
    for path in inputs["images"].rglob("*.png"):
        assert path.read_bytes() in content


@pytest.mark.procs
def test_text_does_not_go_into_npy(inputs, prepare, tmp_path):
    run = prepare(inputs["header"], tmp_path / "out", "--format", "npy", expect=3)
    assert "'city' holds text" in run.log
