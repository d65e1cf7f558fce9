"""How fast does the stream read from S3, against its client alone?

    python benchmarks/stream/remote.py FOLDER [--latency 0.02] [--rounds 3]

FOLDER holds shards with their index, as `prepare` or throughput.py writes them. A server of one process on loopback
answers lists, heads and ranged reads of it as S3 does, each after the latency; it is no S3, but sends with sendfile, so
that it can be faster than its readers. In turn: the client (obstore) reads all objects whole, one after another; and
the loader gives all batches of an epoch, in order and shuffled. Bytes are those of the objects, for both.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET, PREFIX = "bucket", "data/"
STAMP = "2026-01-01T00:00:00.000Z"
WAYS = ("client, whole objects in turn", "**twofold**, in order", "**twofold**, shuffled")
ASKED = 0.9
BATCH = 256


def main() -> None:
    """Measure and print a table, or be the server or one of the readers."""
    args = arguments()
    if args.serve:
        asyncio.run(serve({PREFIX + path.name: path for path in sorted(args.folder.iterdir())}, args.latency))
    elif args.way is not None:
        read(args.way)
    else:
        compare(args)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="shards with their index")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds before each answer (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="new processes for each (default %(default)s)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--way", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(args: argparse.Namespace) -> None:
    """Run all readers in turn, so many times, against one server."""
    size = sum(path.stat().st_size for path in args.folder.iterdir() if not path.name.startswith("_"))
    command = [sys.executable, __file__, str(args.folder), "--latency", str(args.latency)]
    with subprocess.Popen([*command, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        port = int(server.stdout.readline()) if server.stdout else 0
        keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "us-east-1"}
        environ = {**os.environ, **keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        seconds: dict[int, list[float]] = {way: [] for way in range(len(WAYS))}
        try:
            for _ in range(args.rounds):
                for way, found in seconds.items():
                    done = subprocess.run(
                        [*command, "--way", str(way)], env=environ, capture_output=True, text=True, check=True
                    )
                    found.append(float(done.stdout))
        finally:
            server.terminate()
    print(f"\n## S3 with {args.latency * 1000:g} ms, {size / 1e6:.0f} MB\n")
    print("| | MB/s: median | lowest to highest | of the client | asked |\n|---|---:|---:|---:|---:|")
    client = statistics.median(seconds[0])
    for way, found in seconds.items():
        rates = [size / 1e6 / took for took in found]
        share = client / statistics.median(found)
        spread = f"{min(rates):.0f} to {max(rates):.0f}"
        print(f"| {WAYS[way]} | {statistics.median(rates):.0f} | {spread} | {share:.2f} | {ASKED if way else ''} |")


def read(way: int) -> None:
    """Read everything once, and print the seconds from the first request on."""
    if way == 0:
        from obstore.store import S3Store  # noqa: PLC0415

        client = S3Store(BUCKET, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options={"allow_http": True})
        started = time.perf_counter()
        paths = sorted(meta["path"] for page in client.list(PREFIX) for meta in page)
        for path in paths:
            for chunk in client.get(path).stream(min_chunk_size=8 << 20):
                len(chunk)
    else:
        from twofold import StreamingDataset, StreamingLoader  # noqa: PLC0415

        with tempfile.TemporaryDirectory() as scratch:
            started = time.perf_counter()
            dataset = StreamingDataset(f"s3://{BUCKET}/{PREFIX}", scratch=Path(scratch))
            count = sum(len(batch["label"]) for batch in StreamingLoader(dataset, BATCH, shuffle=way == 2))
            if count != len(dataset):
                raise SystemExit(f"{count} samples of {len(dataset)}")
    print(time.perf_counter() - started)


async def serve(files: dict[str, Path], latency: float) -> None:
    """Answer until ended; the port is printed first."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(latency)
                await answer(head.decode("latin-1"), writer, files)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has what it wanted
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def answer(head: str, writer: asyncio.StreamWriter, files: dict[str, Path]) -> None:
    """Answer one request: a list, a head, an object or a range of it."""
    method, target, _ = head.split(" ", 2)
    url = urlsplit(target)
    key = unquote(url.path).removeprefix(f"/{BUCKET}").lstrip("/")
    if key in files:
        size = files[key].stat().st_size
        ranges = [line.split("=")[1] for line in head.splitlines() if line.lower().startswith("range:")]
        first, last = map(int, ranges[0].split("-")) if ranges else (0, size - 1)
        last = min(last, size - 1)
        lines = [
            "HTTP/1.1 206 Partial Content" if ranges else "HTTP/1.1 200 OK",
            f"Content-Length: {last - first + 1}",
            f"Content-Range: bytes {first}-{last}/{size}",
            'ETag: "1"',
            "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        if method == "GET":
            with files[key].open("rb") as file:
                await asyncio.get_running_loop().sendfile(writer.transport, file, first, last - first + 1)
        return
    if "list-type" in parse_qs(url.query):
        body = listing(files)
        status = "200 OK"
    else:
        body, status = "<Error><Code>NoSuchKey</Code></Error>", "404 Not Found"
    text = body.encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/xml", f"Content-Length: {len(text)}", "", ""]
    writer.write("\r\n".join(lines).encode() + (b"" if method == "HEAD" else text))
    await writer.drain()


def listing(files: dict[str, Path]) -> str:
    """The answer to ListObjectsV2, all in one page."""
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>{STAMP}</LastModified><ETag>&quot;1&quot;</ETag>"
        f"<Size>{path.stat().st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key, path in files.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{PREFIX}</Prefix><KeyCount>{len(files)}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    )


if __name__ == "__main__":
    main()
