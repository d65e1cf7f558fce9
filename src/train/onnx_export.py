"""The ONNX program of an artifact: exported from what was written, kept only if it answers as PyTorch does.

    artifact -> Answers -> torch.onnx.export -> ONNX Runtime on several batches -> model.onnx, its error in the manifest

Runs in a thread that nobody waits for once the job is told to stop: the artifact was whole before it began.
"""

import contextlib
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..contract.artifact import PROGRAM, Manifest, Program, read_manifest, write_manifest
from ..errors import DataError
from ..models.answers import Answers
from ..models.load import load_module
from .channels import Source
from .fields import DTYPES
from .interrupt import Interrupt
from .samples import Samples

log = logging.getLogger("twofold.train")

TOLERANCE = 1e-3
"""Largest `|onnx - torch| / max(1, |torch|)` of a program that is kept; float32 alone gives 1e-6 to 1e-5."""
TIME_OUT = 300.0
"""Seconds after which a model counts as one that cannot be exported."""
MOST_BYTES = 1 << 31
"""Bytes of an ONNX file, which is one protobuf message."""

_OPSET = 20
_REAL = 32
_BATCHES = (1, 2, 3, 8, 33)
_POLL = 0.05
_SEED = 20261125


def add_program(folder: Path, real: Tensor, interrupt: Interrupt) -> None:
    """Add a verified program to an artifact; one that there cannot be costs a line of the log.

    Args:
        folder: the artifact, whole.
        real: rows of the training data `[n, *shape]`, n at least 1.
        interrupt: raised when the job shall end: then the program is given up at once.
    """
    start = time.monotonic()
    made: list[tuple[bytes, Program]] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            made.append(export(folder, real))
        except Exception as error:  # noqa: BLE001 - the exporter raises anything, and no job fails for it
            failed.append(error)

    thread = threading.Thread(target=work, name="onnx-export", daemon=True)
    stopped = interrupt.raised
    if not stopped:
        thread.start()
    while thread.is_alive() and not stopped and time.monotonic() - start < TIME_OUT:
        thread.join(_POLL)
        stopped = interrupt.raised
    if made:
        _keep(folder, *made[0])
    elif failed:
        _give_up(f"{type(failed[0]).__name__}: {str(failed[0]).strip().partition(chr(10))[0][:300]}")
    else:
        _give_up("the job was told to stop" if stopped else f"not done in {TIME_OUT:g} s")


def real_rows(training: Source) -> Tensor:
    """Return some rows of the training data `[n, *shape]`; of a pipe, which cannot be read again, its first one."""
    table = torch.from_numpy(training.first[None])
    if isinstance(training, Samples):
        with contextlib.suppress(DataError):
            block = next(training.some(_REAL), None)
            table = torch.from_numpy(block.rows) if block is not None and len(block.rows) else table
    fields = training.fields
    rows = table[:, :-1] if fields.takes == "tokens" else table[:, 1:]
    return rows.reshape(-1, *fields.shape).to(getattr(torch, DTYPES[fields.takes]))


def export(folder: Path, real: Tensor) -> tuple[bytes, Program]:
    """Export the model of a folder and compare its answers with PyTorch's, on real rows and random ones.

    Raises:
        Exception: it cannot be exported, or differs by more than the tolerance.
    """
    manifest = read_manifest(folder)
    answers = Answers(load_module(folder, manifest), manifest.task).eval()
    size = sum(tensor.nbytes for tensor in answers.state_dict().values())
    if size >= MOST_BYTES:
        raise ValueError(f"{size} bytes of weights, an ONNX file holds at most {MOST_BYTES}")
    data = _program(answers, real)
    worst = _worst_error(data, answers, _batches(manifest, real))
    if not worst <= TOLERANCE:
        raise ValueError(f"its answers differ from PyTorch's by {worst:.2g}, more than {TOLERANCE:g}")
    return data, Program(opset=_OPSET, worst_error=worst, tolerance=TOLERANCE)


def _program(answers: nn.Module, real: Tensor) -> bytes:
    """Export a module whose first axis is free."""
    chatter = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in chatter]
    for logger in chatter:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                answers,
                # Two rows: a batch of one would be taken for a constant.
                (real[:1].repeat(2, *[1] * (real.dim() - 1)),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("rows")},),
                input_names=["rows"],
                output_names=["answers"],
                opset_version=_OPSET,
                verbose=False,
            )
    finally:
        for logger, level in zip(chatter, levels, strict=True):
            logger.setLevel(level)
    if program is None:
        raise ValueError("the exporter returned nothing")
    data: bytes = program.model_proto.SerializeToString()
    return data


def _batches(manifest: Manifest, real: Tensor) -> Iterator[Tensor]:
    """Yield batches of several sizes: real rows, rows like them with noise, and rows anywhere in the input's range."""
    random = torch.Generator().manual_seed(_SEED)
    dtype = getattr(torch, manifest.input.dtype)
    for size in _BATCHES:
        chosen = real[torch.arange(size) % len(real)].to(dtype)
        yield chosen
        if dtype.is_floating_point:
            scale = real.float().std() if real.numel() > 1 else torch.tensor(1.0)
            yield chosen + torch.randn(chosen.shape, generator=random) * scale
            yield torch.randn(chosen.shape, generator=random) * 10
        else:
            top = 256 if dtype == torch.uint8 else _vocabulary(manifest, real)
            yield torch.randint(0, top, chosen.shape, generator=random).to(dtype)


def _vocabulary(manifest: Manifest, real: Tensor) -> int:
    named = manifest.architecture.arguments.get("vocabulary")
    return named if isinstance(named, int) else int(real.max()) + 1


def _worst_error(data: bytes, answers: nn.Module, batches: Iterator[Tensor]) -> float:
    """Return the largest error, relative to answers above 1; infinite where shapes differ or one is not finite."""
    # Not at the top: it is needed at the very end, and would keep the first step waiting.
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows in batches:
        with torch.inference_mode():
            expected = answers(rows).numpy().astype(np.float64)
        found = session.run(None, {"rows": rows.numpy()})[0]
        if found.shape != expected.shape or not np.isfinite(found).all():
            return float("inf")
        worst = max(worst, float((np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max()))
    return worst


def _keep(folder: Path, data: bytes, program: Program) -> None:
    """Write the program, then the manifest that names it, each whole or not at all."""
    manifest = read_manifest(folder).model_copy(update={"onnx": program})
    part = folder / f".{PROGRAM}.part"
    try:
        part.write_bytes(data)
        part.rename(folder / PROGRAM)
        write_manifest(folder, manifest)
    except OSError as error:
        part.unlink(missing_ok=True)
        _give_up(f"it cannot be written: {error}")
    else:
        log.info("%s written: its answers differ from PyTorch's by at most %.2g", PROGRAM, program.worst_error)


def _give_up(reason: str) -> None:
    log.warning("No %s, the model is served by PyTorch: %s", PROGRAM, reason)
