"""Storage of torch.distributed.checkpoint: a safetensors file a rank and a manifest in JSON.

torch's own storage unpickles its metadata, and checkpoints come from S3: nothing here does.
"""

import contextlib
import os
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from .checkpoint_manifest import MANIFEST, Manifest, Piece, StoredFile, StoredTensor, sync_folder
from .checkpoint_write import Pauses, undisturbed, write_tensors

Commit: TypeAlias = Callable[[dict[str, StoredFile], dict[str, StoredTensor]], None]

# In a job of one rank there is no group, as there should not be; torch finds that worth a line each time.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")


@dataclass(frozen=True, slots=True)
class _Written:
    """Where a piece went, as the ranks tell the first one."""

    key: str
    file: str
    stored: StoredFile


class StagedPlanner(DefaultSavePlanner):
    """The usual planner, but for data: these come from copies that training does not change."""

    def __init__(self, staged: dict[str, Tensor]) -> None:
        """Take this rank's part of each tensor, on the CPU."""
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._staged = staged

    def lookup_object(self, index: MetadataIndex) -> Tensor:
        """Return the copy of what an item of the plan means."""
        return self._staged[index.fqn]


class RankWriter(StorageWriter):
    """Writes one file for this rank, and the manifest on the first one."""

    def __init__(self, folder: Path, rank: int, pauses: Pauses, commit: Commit) -> None:
        """Take the checkpoint's folder, when to rest, and what makes it count when all is written."""
        self._folder, self._name, self._commit = folder, f"rank-{rank:05d}.safetensors", commit
        self._pauses = pauses
        self.seconds = 0.0
        """What this rank's file took, without waiting for a CPU and without rests."""

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a writer is for one checkpoint."""

    def set_up_storage_writer(self, is_coordinator: bool, *_: object, **__: object) -> None:  # noqa: ARG002
        """Make the folder; a manifest of an earlier run, whose files will be replaced, goes first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (self._folder / MANIFEST).unlink()

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Keep the plan."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Keep the plans."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this rank's pieces beside, to the disk, and rename.

        Raises:
            OSError: the disk is full or broken; what was written is removed.
        """
        began = undisturbed()
        pieces = {_key(item): planner.resolve_data(item) for item in plan.items}
        stored = self._write({key: piece for key, piece in pieces.items() if isinstance(piece, Tensor)})
        self.seconds = undisturbed() - began - self._pauses.seconds
        done: Future[list[WriteResult]] = Future()
        done.set_result([WriteResult(item.index, 0, _Written(_key(item), self._name, stored)) for item in plan.items])
        return done

    def _write(self, pieces: dict[str, Tensor]) -> StoredFile:
        path, partial = self._folder / self._name, self._folder / f".{self._name}.partial"
        try:
            stored = write_tensors(pieces, partial, self._pauses)
            partial.replace(path)
            sync_folder(self._folder)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        return stored

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Commit, on the first rank, when every rank has written."""
        written = {result.index: result.storage_data for part in results for result in part}
        tensors = {}
        for name, tensor in metadata.state_dict_metadata.items():
            if not isinstance(tensor, TensorStorageMetadata):
                raise TypeError(f"{name} is no tensor")
            tensors[name] = StoredTensor(
                dtype=str(tensor.properties.dtype).removeprefix("torch."),
                size=list(tensor.size),
                pieces=[_piece(written[MetadataIndex(name, chunk.offsets)], chunk) for chunk in tensor.chunks],
            )
        files = {each.file: each.stored for each in written.values()}
        self._commit(files, tensors)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:  # noqa: ARG003
        """Whether torch may choose this storage by itself."""
        return False


class PieceReader(StorageReader):
    """Reads what a manifest names, out of files that were checked."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Take the folder and the manifest of a checkpoint."""
        self._folder, self._manifest = folder, manifest

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a reader is for one checkpoint."""

    def read_metadata(self, *_: object, **__: object) -> Metadata:
        """Return the tensors and their pieces."""
        return Metadata(
            {
                name: TensorStorageMetadata(
                    TensorProperties(dtype=dtype_of(tensor)),
                    torch.Size(tensor.size),
                    [ChunkStorageMetadata(torch.Size(p.offsets), torch.Size(p.sizes)) for p in tensor.pieces],
                )
                for name, tensor in self._manifest.tensors.items()
            }
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *_: object, **__: object) -> None:
        """Do nothing: the files are known."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Keep the plan."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Keep the plans."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy the parts of pieces that this rank needs into its tensors."""
        places = {
            MetadataIndex(name, piece.offsets): piece
            for name, tensor in self._manifest.tensors.items()
            for piece in tensor.pieces
        }
        by_file = defaultdict(list)
        for item in plan.items:
            piece = places[item.storage_index]
            by_file[piece.file].append((item, piece.key))
        for name, items in by_file.items():
            with safe_open(self._folder / name, framework="pt") as file:
                for item, key in items:
                    target = planner.resolve_tensor(item)
                    target.copy_(_part(file, key, item.storage_offsets, item.lengths))
                    planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:  # noqa: ARG003
        """Whether torch may choose this storage by itself."""
        return False


def dtype_of(tensor: StoredTensor) -> torch.dtype:
    """Return the type of a stored tensor.

    Raises:
        ValueError: torch has no such type.
    """
    dtype = getattr(torch, tensor.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{tensor.dtype!r} is no type of torch")  # noqa: TRY004 - the name is wrong, not its type
    return dtype


def _part(file: safe_open, key: str, offsets: torch.Size, lengths: torch.Size) -> Tensor:
    """Read a box out of a piece; one without dimensions cannot be sliced."""
    if not offsets:
        whole: Tensor = file.get_tensor(key)  # type: ignore[no-untyped-call]
        return whole
    part: Tensor = file.get_slice(key)[  # type: ignore[no-untyped-call]
        tuple(slice(start, start + length) for start, length in zip(offsets, lengths, strict=True))
    ]
    return part


def _key(item: WriteItem) -> str:
    """Name of a piece in its file: that of the tensor, and where it begins."""
    offsets = item.index.offset
    return f"{item.index.fqn}@{','.join(map(str, offsets))}" if offsets and any(offsets) else item.index.fqn


def _piece(written: _Written, chunk: ChunkStorageMetadata) -> Piece:
    return Piece(file=written.file, key=written.key, offsets=list(chunk.offsets), sizes=list(chunk.sizes))
