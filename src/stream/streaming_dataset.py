"""A folder or a file of records for a user's own script."""

import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..contract import machine
from ..contract.paths import scratch as temporary
from .catalog import Host, open_dataset
from .dataset import Dataset
from .s3_catalog import open_s3
from .s3_client import SCHEME


class StreamingDataset(Dataset):
    """All records below a folder, or of one file, by number.

        dataset = StreamingDataset("/opt/ml/input/data/training")
        len(dataset)
        columns, _ = dataset.read(numpy.array([7, 3]))      # {"label": [2], "features": [2, 64]}

    RecordIO, TFRecord, tar, Parquet, CSV, JSON Lines, LibSVM, NPY, NPZ and folders of images are recognised by their
    content. What has to be parsed or indexed for that is kept in a folder of its own for the next who opens it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        channel: str | None = None,
        content_type: str | None = None,
        on_bad_record: str = "stop",
        scratch: str | Path | None = None,
        threads: int | None = None,
    ) -> None:
        """Open it. Each process that does so parses what it does not find in `scratch`.

        Args:
            path: a folder, a file, or `s3://bucket/prefix`, with credentials and endpoint as the AWS tools take them.
            channel: what messages call it; by default the folder's name.
            content_type: a media type, where the content alone does not tell.
            on_bad_record: `stop` at a broken record, or `skip` it and count.
            scratch: folder for what is derived from the data; by default one of this user's in the temporary folder.
            threads: that decode images; by default one a core.

        Raises:
            DataError: no file, files of several kinds, or one that nothing here reads.
        """
        host = Host(Path(scratch) if scratch else own_scratch())
        pool = ThreadPoolExecutor(threads or machine.cpus(), thread_name_prefix="twofold-decode")
        opened: Dataset
        if str(path).startswith(SCHEME):
            name = channel or str(path)
            opened = open_s3(str(path), os.environ, channel=name, host=host, on_bad_record=on_bad_record, threads=pool)
        else:
            opened = open_dataset(
                Path(path),
                channel=channel or Path(path).absolute().name,
                host=host,
                content_type=content_type,
                on_bad_record=on_bad_record,
                threads=pool,
            )
        super().__init__(opened.channel, opened.shards, on_bad_record=on_bad_record)


def own_scratch() -> Path:
    """Folder that outlives the process and belongs to this user alone; a new one where another has taken its name."""
    folder = temporary() / f"twofold-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return folder if private else Path(tempfile.mkdtemp(prefix="twofold-"))
