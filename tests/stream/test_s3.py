"""Objects in S3: moto's server behind a proxy that does what networks and S3 do on bad days."""

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from twofold.errors import ConfigError, DataError, PlatformError
from twofold.formats import aialgs
from twofold.stream import dataset as dataset_module
from twofold.stream import loader as loader_module
from twofold.stream.catalog import Host
from twofold.stream.dataset import Dataset
from twofold.stream.lanes import LANES
from twofold.stream.loader import StreamingLoader
from twofold.stream.plan import rank_slots
from twofold.stream.s3 import PIECE_BYTES, Bucket, Object
from twofold.stream.s3_catalog import open_s3
from twofold.stream.s3_client import open_store, parse_uri
from twofold.stream.s3_shards import GAP_BYTES, S3LayoutShard, ascend
from twofold.stream.shards import BadRecords

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@dataclass
class Network:
    """The way to S3: `faults` are what happens to the next reads of objects, one each; then all is well."""

    environ: dict[str, str]
    faults: list[str] = field(default_factory=list)
    always: str = ""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and range of each request."""
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    open: int = 0
    most_open: int = 0
    """Requests that waited at a time."""

    def next_fault(self) -> str:
        return self.faults.pop(0) if self.faults else self.always


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    network: Network
    upstream: str

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        reads = "list-type" not in self.path
        self.network.seen.append((self.command, self.path, self.headers.get("Range", "")))
        fault = self.network.next_fault() if reads and self.command == "GET" else ""
        if fault.isdecimal():
            self.answer(int(fault), b"<Error><Code>Injected</Code></Error>", {})
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        else:
            self.forward(fault)

    do_HEAD = do_GET  # noqa: N815  the name is http.server's

    def forward(self, fault: str) -> None:
        with self.network.lock:
            self.network.open += 1
            self.network.most_open = max(self.network.most_open, self.network.open)
        upstream = HTTPConnection(self.upstream)
        upstream.request(self.command, self.path, headers=dict(self.headers))
        answer = upstream.getresponse()
        body = answer.read()
        upstream.close()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in DROPPED}
        with self.network.lock:
            self.network.open -= 1
        if self.command == "HEAD":
            headers["Content-Length"] = answer.getheader("Content-Length") or "0"
        self.answer(answer.status, body, headers, cut=fault in ("truncated", "stalled"))
        if fault == "stalled":
            self.network.ended.wait(30)

    def answer(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()
        self.close_connection = self.close_connection or cut


DROPPED = {"content-length", "transfer-encoding", "connection", "server", "date"}


@pytest.fixture(scope="module")
def moto_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def network(moto_server: str) -> Iterator[Network]:
    found = Network(KEYS)
    handler = type("Handler", (Proxy,), {"network": found, "upstream": moto_server})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    found.environ = KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.ended.set()
    server.shutdown()
    server.server_close()
    thread.join()


Put = Callable[[str, bytes], None]


@pytest.fixture
def put(moto_server: str) -> Iterator[Put]:
    """Write an object to the bucket `data`, which is empty when a test begins."""
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{moto_server}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="data")
    written = []

    def write(key: str, content: bytes) -> None:
        client.put_object(Bucket="data", Key=key, Body=content)
        written.append(key)

    yield write
    for key in written:
        client.delete_object(Bucket="data", Key=key)
    client.delete_bucket(Bucket="data")
    client.close()


def names(objects: list[Object]) -> list[str]:
    return [item.key for item in objects]


def test_prefix_is_a_prefix_of_keys_as_in_a_channel(network: Network, put: Put) -> None:
    for key in ("other/x", "tr", "train", "train-2/a", "train/", "train/a b+c.csv", "train/b/c", "train/_done", "zoo"):
        put(key, b"" if key.endswith("/") else key.encode())
    bucket = Bucket("data", network.environ)
    assert names(bucket.objects("train/")) == ["train/a b+c.csv", "train/b/c"]
    assert names(bucket.objects("train")) == ["train", "train-2/a", "train/a b+c.csv", "train/b/c"]
    assert names(bucket.objects("train/b")) == ["train/b/c"]
    assert names(bucket.objects("none/")) == []
    assert len(bucket.objects("")) == 7
    [item] = bucket.objects("train/a")
    assert (item.name, item.size) == ("s3://data/train/a b+c.csv", 15)
    assert bucket.read(item, 6, 9).tobytes() == b"a b"


def test_more_objects_than_a_page(network: Network, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.stream.s3._PAGE", 2)
    for number in range(7):
        put(f"many/{number}", b"x")
    put("more", b"x")
    bucket = Bucket("data", network.environ)
    assert len(bucket.objects("many/")) == 7
    assert len(bucket.objects("man")) == 7
    assert len(bucket.objects("m")) == 8


def test_manifest(network: Network, put: Put) -> None:
    put("base/1", b"one")
    put("base/2", b"two")
    put("list.manifest", json.dumps([{"prefix": "s3://data/base/"}, "2", "1"]).encode())
    bucket = Bucket("data", network.environ)
    assert names(bucket.manifest("list.manifest")) == ["base/2", "base/1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "is no manifest"),
        ('[{"prefix": "http://data/"}]', "is no manifest"),
        ('[{"prefix": "s3://elsewhere/x/"}, "1"]', "lists objects of bucket 'elsewhere'"),
        ('[{"prefix": "s3://data/"}, "missing"]', "s3://data/missing does not exist"),
    ],
)
def test_broken_manifest(network: Network, put: Put, content: str, message: str) -> None:
    put("list.manifest", content.encode())
    with pytest.raises(DataError, match=message):
        Bucket("data", network.environ).manifest("list.manifest")


@pytest.mark.parametrize("uri", ["data/x", "s3://", "s3:///x", "https://data/x"])
def test_address_of_another_form(uri: str) -> None:
    with pytest.raises(ConfigError, match="is no address in S3"):
        parse_uri(uri)


def test_ranges_of_one_object(network: Network, put: Put) -> None:
    content = np.random.default_rng(0).bytes(300_000)
    put("x", content)
    bucket = Bucket("data", network.environ)
    [item] = bucket.objects("x")
    starts = np.arange(0, 299_000, 7919)
    parts = list(bucket.request(item, starts, starts + 1000)())
    assert [part.tobytes() for part in parts] == [content[start : start + 1000] for start in starts]


def test_download(network: Network, put: Put, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(PIECE_BYTES * 5 + 17)
    put("big", content)
    put("empty", b"")
    bucket = Bucket("data", network.environ)
    for item in bucket.objects(""):
        bucket.download(item, tmp_path / item.key)
    assert (tmp_path / "big").read_bytes() == content
    assert (tmp_path / "empty").read_bytes() == b""


@pytest.mark.parametrize("fault", ["500", "503", "429", "reset", "truncated", "stalled"])
def test_what_passes_is_tried_again(network: Network, put: Put, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = np.random.default_rng(1).bytes(50_000)
    put("x", content)
    [item] = Bucket("data", network.environ).objects("x")
    monkeypatch.setattr("twofold.stream.s3_client.STALL_SECONDS", 1.0)
    bucket = Bucket("data", network.environ, retry_seconds=20)
    network.faults = [fault, fault]
    assert bucket.read(item, 100, 40_000).tobytes() == content[100:40_000]
    assert network.faults == []


@pytest.mark.parametrize("fault", ["500", "503", "429", "reset", "truncated", "stalled"])
def test_what_does_not_pass_ends(network: Network, put: Put, fault: str) -> None:
    put("x", b"0123456789" * 100)
    [item] = Bucket("data", network.environ).objects("x")
    bucket = Bucket("data", network.environ, retry_seconds=0.5)
    network.always = fault
    with pytest.raises(PlatformError, match="s3://data/x"):
        bucket.read(item, 0, 1000)


@pytest.mark.parametrize(
    ("fault", "message"), [("403", "s3://data/x may not be read"), ("404", "s3://data/x does not")]
)
def test_what_no_second_try_helps(network: Network, put: Put, fault: str, message: str) -> None:
    put("x", b"0123456789")
    bucket = Bucket("data", network.environ)
    [item] = bucket.objects("x")
    network.always = fault
    with pytest.raises(DataError, match=message):
        bucket.read(item, 0, 10)


def test_endpoint_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        environ = KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{unused.getsockname()[1]}"}
        with pytest.raises(PlatformError, match="s3://data/train/ cannot be read"):
            Bucket("data", environ, retry_seconds=0.3).objects("train/")


def test_bucket_that_is_not_there(network: Network) -> None:
    with pytest.raises(DataError, match="s3://nothing-here/train/: the bucket does not exist"):
        Bucket("nothing-here", network.environ).objects("train/")


def test_object_that_changes_is_refused(network: Network, put: Put) -> None:
    put("x", b"first" * 100_000)
    bucket = Bucket("data", network.environ)
    [item] = bucket.objects("x")
    put("x", b"other" * 100_000)
    with pytest.raises(DataError, match="s3://data/x has changed since it was listed"):
        bucket.read(item, 0, 5)
    starts = np.array([0, 100_000, 200_000])
    with pytest.raises(DataError, match="s3://data/x has changed"):
        list(bucket.request(item, starts, starts + 5)())


def test_credentials_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text("[mine]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    provider = open_store("data", {"AWS_PROFILE": "mine"}, 1.0).credential_provider
    assert provider is not None
    assert provider()["access_key_id"] == "a"


def rows(first: int, last: int) -> bytes:
    return b"".join(
        aialgs.encode({"features": np.full(64, i, np.float32), "label": np.array([i], np.float32)})
        for i in range(first, last)
    )


def layout_shards(network: Network, put: Put, sizes: list[int], **options: bool) -> list[S3LayoutShard]:
    first = 0
    for number, size in enumerate(sizes):
        put(f"train/{number:03}", rows(first, first + size))
        first += size
    shards = []
    for item in Bucket("data", network.environ).objects("train/"):
        head = item.bucket.read(item, 0, min(item.size, 1 << 20))
        layout = aialgs.layout(memoryview(head), item.size)  # type: ignore[arg-type]
        assert layout is not None
        shards.append(S3LayoutShard(item, layout, **options))
    return shards


@pytest.mark.parametrize(("batch_size", "world"), [(16, 1), (16, 3), (7, 2)])
def test_loader_reads_every_sample_once(network: Network, put: Put, batch_size: int, world: int) -> None:
    dataset = Dataset("train", layout_shards(network, put, [500, 3, 1, 1200]))
    assert dataset.remote
    found = []
    for rank in range(world):
        for batch in StreamingLoader(dataset, batch_size, rank=rank, world=world):
            assert (batch["features"] == batch["label"].reshape(-1, 1)).all()
            found += batch["label"].flatten().int().tolist()
    assert sorted(found) == list(range(1704))
    assert found != sorted(found)


def test_loader_resumes_with_the_same_batches(network: Network, put: Put) -> None:
    dataset = Dataset("train", layout_shards(network, put, [900, 800]))
    whole = [batch["label"].flatten().tolist() for batch in StreamingLoader(dataset, 4)]
    loader = StreamingLoader(dataset, 4)
    loader.load_state_dict(loader.state_dict() | {"step": 301})
    assert [batch["label"].flatten().tolist() for batch in loader] == whole[301:]


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize(("shuffle", "world", "start"), [(True, 1, 0), (False, 1, 0), (True, 3, 0), (True, 2, 41)])
def test_batches_are_those_of_the_plan(
    network: Network,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    *,
    copied: bool,
    shuffle: bool,
    world: int,
    start: int,
) -> None:
    """Whatever is asked for at once: units are 8 steps here, and the last batch is short."""
    monkeypatch.setattr(dataset_module, "LOCATED_BYTES", 0 if copied else dataset_module.LOCATED_BYTES)
    dataset = Dataset("train", layout_shards(network, put, [500, 3, 1, 1200]))
    monkeypatch.setattr(loader_module, "REMOTE_BLOCK_BYTES", int(8 * 16 * dataset.record_bytes))
    for rank in range(world):
        loader = StreamingLoader(dataset, 16, shuffle=shuffle, rank=rank, world=world)
        loader.load_state_dict(loader.state_dict() | {"step": start})
        plan, slots = loader.plan(0), rank_slots(16, rank, world)
        for step, (batch, ids) in enumerate(loader.batches(), start):
            assert ids.tolist() == plan.batch(step, slots).tolist()
            assert batch["label"].flatten().tolist() == ids.tolist()
            assert (batch["features"] == batch["label"].reshape(-1, 1)).all()
        assert step == plan.steps - 1


@pytest.mark.parametrize("shuffle", [True, False])
def test_requests_are_long_and_nothing_comes_twice(
    network: Network, put: Put, monkeypatch: pytest.MonkeyPatch, *, shuffle: bool
) -> None:
    dataset = Dataset("train", layout_shards(network, put, [3000]))
    monkeypatch.setattr(loader_module, "REMOTE_BLOCK_BYTES", int(8 * 10 * dataset.record_bytes))
    monkeypatch.setattr("twofold.stream.s3_shards.GAP_BYTES", 0)
    network.seen.clear()
    assert sum(len(batch["label"]) for batch in StreamingLoader(dataset, 10, shuffle=shuffle)) == 3000
    spans = [tuple(map(int, requested.removeprefix("bytes=").split("-"))) for _, _, requested in network.seen]
    records = [(last + 1 - first) / dataset.record_bytes for first, last in spans]
    assert sum(records) == 3000
    assert max(records) >= 8 * LANES
    assert len(records) < 3000 / 8 / 2


def test_requests_at_a_time_are_bounded(network: Network, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.stream.s3.CONNECTIONS", 3)
    put("x", bytes(100_000))
    bucket = Bucket("data", network.environ)
    [item] = bucket.objects("x")
    starts = np.arange(0, 100_000, 1000)
    assert sum(map(len, bucket.request(item, starts, starts + 1000)())) == 100_000
    assert 1 < network.most_open <= 3


def test_object_that_changes_in_the_middle_of_an_epoch_is_refused(
    network: Network, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset("train", layout_shards(network, put, [3000]))
    monkeypatch.setattr(loader_module, "REMOTE_BLOCK_BYTES", int(8 * 10 * dataset.record_bytes))
    batches = iter(StreamingLoader(dataset, 10))
    next(batches)
    put("train/000", rows(1, 3001))
    with pytest.raises(DataError, match="s3://data/train/000 has changed since it was listed"):
        list(batches)


def test_whoever_leaves_an_epoch_asks_for_no_more(network: Network, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.stream.s3.CONNECTIONS", 1)
    put("x", bytes(100_000))
    bucket = Bucket("data", network.environ)
    [item] = bucket.objects("x")
    network.always = "stalled"
    network.seen.clear()
    starts = np.arange(0, 100_000, 1000)
    waiting = bucket.request(item, starts, starts + 1000)
    del waiting
    network.always = ""
    network.ended.set()
    assert len(bucket.read(item, 0, 10)) == 10
    assert len({requested for _, _, requested in network.seen}) <= 3


def test_damage_in_the_middle_of_an_epoch_is_skipped(
    network: Network, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = layout_shards(network, put, [1000])
    stride = int(shards[0].record_bytes)
    content = bytearray(rows(0, 1000))
    for row in (0, 700, 999):
        content[row * stride] ^= 0xFF
    put("train/000", bytes(content))
    [item] = Bucket("data", network.environ).objects("train/")
    dataset = Dataset("train", [S3LayoutShard(item, shards[0].layout)], on_bad_record="skip")
    monkeypatch.setattr(loader_module, "REMOTE_BLOCK_BYTES", int(8 * 10 * dataset.record_bytes))
    found = []
    for batch, ids in StreamingLoader(dataset, 10).batches():
        assert batch["label"].flatten().tolist() == ids.tolist()
        found += ids.tolist()
    assert sorted(found) == [number for number in range(1000) if number not in (0, 700, 999)]
    assert dataset.bad.skipped == 3


def test_rows_near_each_other_are_one_request(network: Network, put: Put) -> None:
    [shard] = layout_shards(network, put, [3000])
    stride = int(shard.record_bytes)
    apart = 100 + GAP_BYTES // stride + 2
    network.seen.clear()
    columns, kept = shard.read(np.array([90, 20, 100, 21, apart, apart + 5]), BadRecords("train"))
    assert kept is None
    assert columns["label"].flatten().tolist() == [90, 20, 100, 21, apart, apart + 5]  # type: ignore[union-attr]
    ranges = sorted(requested for _, _, requested in network.seen)
    spans = [(20, 101), (apart, apart + 6)]
    assert ranges == sorted(f"bytes={first * stride}-{last * stride - 1}" for first, last in spans)


def test_damage_is_named_by_record_and_byte(network: Network, put: Put) -> None:
    [shard] = layout_shards(network, put, [1000])
    stride = int(shard.record_bytes)
    content = bytearray(rows(0, 1000))
    content[700 * stride] ^= 0xFF
    put("train/000", bytes(content))
    [item] = Bucket("data", network.environ).objects("train/")
    shard = S3LayoutShard(item, shard.layout)
    wanted = np.array([3, 699, 700, 701])
    with pytest.raises(DataError, match=rf"'train', file s3://data/train/000: record 700 at byte {700 * stride}"):
        shard.read(wanted, BadRecords("train"))
    bad = BadRecords("train", skip=True)
    columns, kept = shard.read(wanted, bad)
    assert kept is not None
    assert kept.tolist() == [0, 1, 3]
    assert columns["label"].flatten().tolist() == [3, 699, 701]  # type: ignore[union-attr]
    assert bad.skipped == 1


def test_faults_in_the_middle_of_an_epoch(network: Network, put: Put) -> None:
    dataset = Dataset("train", layout_shards(network, put, [700, 800]))
    network.faults = ["503", "reset", "truncated"]
    found = [value for batch in StreamingLoader(dataset, 8) for value in batch["label"].flatten().int().tolist()]
    assert sorted(found) == list(range(1500))
    assert network.faults == []


def test_object_that_vanishes_in_the_middle_of_an_epoch(network: Network, put: Put) -> None:
    dataset = Dataset("train", layout_shards(network, put, [700, 800]))
    network.faults, network.always = [""], "404"
    with pytest.raises(DataError, match=r"s3://data/train/00\d does not exist"):
        list(StreamingLoader(dataset, 8))


def table(first: int, last: int) -> bytes:
    return "".join(f"{number},{number * 2},{number * 3}\n" for number in range(first, last)).encode()


def all_labels(dataset: Dataset) -> list[float]:
    return sorted(label for batch in StreamingLoader(dataset, 8) for label in batch["label"].flatten().tolist())


def test_address_of_records_of_one_stride_reads_ranges_only(network: Network, put: Put, tmp_path: Path) -> None:
    put("set/a.rec", rows(0, 20))
    put("set/b.rec", rows(20, 50))
    dataset = open_s3("s3://data/set/", network.environ, channel="train", host=Host(tmp_path))
    assert dataset.remote
    assert all_labels(dataset) == list(range(50))
    assert not list(tmp_path.iterdir())


def test_address_of_tables_is_copied_once(network: Network, put: Put, tmp_path: Path) -> None:
    put("set/x/a.csv", table(0, 20))
    put("set/x/b.csv", table(20, 50))
    for _ in range(2):
        dataset = open_s3("s3://data/set/x/", network.environ, channel="train", host=Host(tmp_path))
        assert all_labels(dataset) == list(range(50))
    assert len(list(tmp_path.glob("s3-*"))) == 1
    put("set/x/b.csv", table(20, 60))
    dataset = open_s3("s3://data/set/x/", network.environ, channel="train", host=Host(tmp_path))
    assert all_labels(dataset) == list(range(60))


def test_address_of_a_prepared_dataset_reads_its_index(network: Network, put: Put, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes(table(0, 50))
    command = [sys.executable, "-m", "twofold.prepare", str(tmp_path / "in"), str(tmp_path / "out"), "--format", "npy"]
    subprocess.run(command, check=True, capture_output=True)
    for path in (tmp_path / "out").iterdir():
        put(f"ready/{path.name}", path.read_bytes())
    dataset = open_s3("s3://data/ready/", network.environ, channel="train", host=Host(tmp_path / "host"))
    assert dataset.remote
    assert all_labels(dataset) == list(range(50))


def test_address_without_objects_is_named(network: Network, put: Put, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no object at s3://data/nothing/"):
        open_s3("s3://data/nothing/", network.environ, channel="train", host=Host(tmp_path))


@pytest.mark.parametrize("apart", [1, 7, 1000, 1 << 40])
def test_rows_ascend_whether_they_lie_densely_or_far_apart(apart: int) -> None:
    """Marked, sorted as short numbers, and sorted as long ones."""
    rows = 5 + apart * np.random.default_rng(0).permutation(2000)
    assert ascend(rows).tolist() == sorted(rows.tolist())
    assert sorted(set(ascend(np.append(rows, rows)).tolist())) == sorted(rows.tolist())
