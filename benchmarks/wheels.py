"""How large the packages of a lock are, as wheels and unpacked, without downloading them.

    python benchmarks/wheels.py docker/locks/cuda.txt --index ADDRESS

The index says how many bytes a wheel has. Its table of contents, which is at its end, is read by ranged requests and
says how many bytes are unpacked. Prints a Markdown table; results are kept in `benchmarks/results/`, dated.
"""

import argparse
import io
import json
import re
import sys
import urllib.request
import zipfile
from pathlib import Path

# Wheels that pip takes for the image: Python 3.11 on x86_64 with the C library of Debian 12.
FITTING = re.compile(r"-(cp311-cp311|py3-none|py2\.py3-none)-(any|.*manylinux.*x86_64)\.whl$")


class Remote(io.RawIOBase):
    """A file behind an address, read by ranges."""

    def __init__(self, url: str, size: int) -> None:
        self.url, self.size, self.place = url, size, 0

    def seekable(self) -> bool:
        """Yes: by the next request."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, without a request."""
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Ask for the next bytes."""
        end = min(self.place + len(buffer), self.size)
        if end <= self.place:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.place}-{end - 1}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.status != 206:
                sys.exit(f"{self.url}: no ranges are answered here, only whole files")
            data = answer.read()
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


def main() -> None:
    """Ask for each package, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--index", required=True, help="address of a simple index that answers in JSON")
    asked = parser.parse_args()
    print("| package | version | wheel, MB | unpacked, MB |\n|---|---|--:|--:|")
    total = [0, 0]
    for name, version, hashes in pins(asked.lock.read_text(encoding="utf-8")):
        url, size = wheel(asked.index, name, hashes)
        with zipfile.ZipFile(io.BufferedReader(Remote(url, size), 1 << 16)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        total[0] += size
        total[1] += unpacked
        print(f"| {name} | {version} | {size / 1e6:,.1f} | {unpacked / 1e6:,.1f} |", flush=True)
    print(f"| **all** | | **{total[0] / 1e6:,.0f}** | **{total[1] / 1e6:,.0f}** |")


def pins(lock: str) -> list[tuple[str, str, set[str]]]:
    """Name, version and hashes of each package."""
    entries = re.split(r"\n(?=[a-z0-9])", lock)
    found = [re.match(r"([a-z0-9-]+)==(\S+)", entry) for entry in entries]
    return [
        (match[1], match[2], set(re.findall(r"sha256:([0-9a-f]{64})", entry)))
        for match, entry in zip(found, entries, strict=True)
        if match
    ]


def wheel(index: str, name: str, hashes: set[str]) -> tuple[str, int]:
    """Address and bytes of the wheel that the image takes."""
    request = urllib.request.Request(f"{index}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    for file in files:
        if file["hashes"].get("sha256") in hashes and FITTING.search(file["filename"]):
            return file["url"], file["size"]
    sys.exit(f"{name}: the index has no wheel of the lock for Python 3.11 on x86_64")


if __name__ == "__main__":
    main()
