"""Ways of sharing a job between ranks: do they learn the same, and how much memory does each rank take?

    python benchmarks/train/parallel.py

Two parts, on gloo: `gpt` on this repository's pages for 50 steps in every way, and one large enough that its memory
shows for 3 steps. Each run is a torchrun of this file, which trains by `twofold.train.program` as a job does.
"""

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch._dynamo  # optimizers import it in the first step, and its size is not that of a job
from torch.distributed.tensor import DTensor
from twofold.contract.job import read_training_job
from twofold.contract.paths import Paths
from twofold.train import loop, program
from twofold.train.architecture import Blueprint
from twofold.train.ranks import join

ROOT = Path(__file__).parents[2]
WAYS = {
    "none, 1 process": (1, {}),
    "none, 1 process, micro_batch_size=4": (1, {"micro_batch_size": 4}),
    "ddp, 2": (2, {}),
    "fsdp, 2": (2, {"parallel": "fsdp"}),
    "tp, 2": (2, {"parallel": "tp"}),
    "fsdp+tp, 2 x 2": (4, {"tensor_parallel": 2}),
}
MORE = {
    "none, 1 process, activation_checkpointing": (1, {"activation_checkpointing": True}),
    "fsdp, 2, micro_batch_size=2": (2, {"parallel": "fsdp", "micro_batch_size": 2}),
    "fsdp, 2, activation_checkpointing": (2, {"parallel": "fsdp", "activation_checkpointing": True}),
}
SMALL = {"model": "gpt", "context": 64, "width": 64, "layers": 2, "heads": 4, "batch_size": 16, "learning_rate": 1e-3}
LARGE = SMALL | {"width": 512, "layers": 8, "heads": 8, "batch_size": 8, "context": 256, "max_steps": 3}
CLIPPED = {"grad_clip": 1.0, "weight_decay": 0.1, "warmup_steps": 10, "export_onnx": False}
STEPS = 50
MIB = 1 << 20


def status(name: str) -> int:
    """Bytes that the kernel counts for this process under a name of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def rank(tree: Path) -> None:
    """Train the job of a tree as one rank, and leave the loss of every step and the memory."""
    losses: list[float] = []
    kept: dict[str, int] = {}
    step, build = loop.Trainer._step, Blueprint.build  # noqa: SLF001 - the loss of a step is nowhere else

    def first_built(self: Blueprint) -> object:
        if "before" not in kept:
            gc.collect()
            kept["before"] = status("RssAnon")
            # From here on VmHWM is the largest that the process has been.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return build(self)

    def watched(self: loop.Trainer, batch: object) -> object:
        sums = step(self, batch)
        kept["peak"] = status("VmHWM") - status("RssFile") - status("RssShmem") - kept["before"]
        loss = self.ranks.sum(torch.stack([sums.loss.double(), torch.tensor(sums.count).double()]))
        losses.append(float(loss[0] / loss[1]))
        parameters = list(self.replica.module.parameters())
        held = [*parameters, *(each.grad for each in parameters)]
        held += [value for state in self.state.optimizer.state.values() for value in state.values()]
        local = [each.to_local() if isinstance(each, DTensor) else each for each in held if each is not None]
        kept["state"] = sum(each.numel() * each.element_size() for each in local)
        return sums

    loop.Trainer._step, Blueprint.build = watched, first_built  # noqa: SLF001
    torch.set_num_threads(1)
    with join(os.environ) as ranks:
        scratch = tree / "scratch"
        scratch.mkdir(exist_ok=True)
        program.run(read_training_job(Paths(tree), {}), ranks, scratch)
        written = tree / f"rank-{ranks.rank}.json"
        written.write_text(json.dumps({"losses": losses, **kept}), encoding="utf-8")
        ranks.barrier()
    program.leave(0)


def run(folder: Path, count: int, settings: dict[str, object]) -> list[dict[str, object]]:
    """Train in a tree of its own; return what each rank has left."""
    tree = Path(tempfile.mkdtemp(dir=folder))
    paths = Paths(tree)
    paths.channel("training").mkdir(parents=True)
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "DESIGN.md", "CONTRIBUTING.md"))
    (paths.channel("training") / "pages.txt").write_text(text, encoding="utf-8")
    paths.hyperparameters.parent.mkdir(parents=True)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    paths.hyperparameters.write_text(json.dumps(texts), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run([*command, __file__, "--rank", str(tree)], env=environ, check=True, stderr=subprocess.DEVNULL)
    return [json.loads((tree / f"rank-{number}.json").read_text()) for number in range(count)]


def parity(folder: Path) -> None:
    """Print how far the loss of each way is from that of one process, over all steps."""
    print(f"\n{STEPS} steps of gpt, {settings_of(SMALL)}, fp32\n")
    print("| way | loss of the first step | of the last | largest relative difference in 10 steps | in 25 | in 50 |")
    print("|---|--:|--:|--:|--:|--:|")
    alone: list[float] = []
    for name, (count, settings) in WAYS.items():
        found = run(folder, count, SMALL | CLIPPED | {"max_steps": STEPS, "epochs": 100} | settings)[0]["losses"]
        alone = alone or found
        off = [abs(one - other) / other for one, other in zip(found, alone, strict=True)]
        largest = " | ".join(f"{max(off[:steps]):.1e}" for steps in (10, 25, STEPS))
        print(f"| {name} | {found[0]:.6f} | {found[-1]:.6f} | {largest} |", flush=True)


def memory(folder: Path) -> None:
    """Print what each rank holds, and the peak of its anonymous memory above that before it builds the model."""
    print(f"\n3 steps of gpt, {settings_of(LARGE)}\n")
    print("| way | weights, gradients and moments, MiB a rank | peak since before the model, MiB a rank |")
    print("|---|--:|--:|")
    for name, (count, settings) in (WAYS | MORE).items():
        found = run(folder, count, LARGE | CLIPPED | settings)
        states = max(each["state"] for each in found) / MIB
        peaks = max(each["peak"] for each in found) / MIB
        print(f"| {name} | {states:.0f} | {peaks:.0f} |", flush=True)


def settings_of(settings: dict[str, object]) -> str:
    """Sizes in words."""
    names = ("context", "width", "layers", "heads", "batch_size")
    return ", ".join(f"{name}={settings[name]}" for name in names)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", type=Path, help="be one rank of the job in this tree")
    parser.add_argument("--only", choices=["parity", "memory"])
    arguments = parser.parse_args()
    if arguments.rank:
        rank(arguments.rank)
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    print(f"{machine}, Python {platform.python_version()}, torch {torch.__version__}, gloo, one thread a rank")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only != "memory":
            parity(Path(folder))
        if arguments.only != "parity":
            memory(Path(folder))


if __name__ == "__main__":
    main()
