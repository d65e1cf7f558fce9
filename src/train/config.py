"""Hyperparameters of the built-in training program, cast once from the strings that the platform hands over."""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..errors import ConfigError


def _listed(value: object) -> object:
    """Accept one width, or widths with commas between, where a list is wanted."""
    if isinstance(value, str):
        return [part for part in value.replace(",", " ").split() if part]
    return [value] if isinstance(value, int) else value


TRAINING_CHANNELS = ("training", "train")
"""Names of the channel that training reads."""
MODELS = ("linear", "mlp", "resnet", "gpt")
"""Built-in models; anything else is an own one, `file:function`."""
_OWN = re.compile(r"[^:]+:[A-Za-z_]\w*")


def _model(value: str) -> str:
    if value not in MODELS and not _OWN.fullmatch(value):
        raise ValueError(f"Expected one of {', '.join(MODELS)}, or file:function for a model of your own")
    return value


def _weights(value: object) -> object:
    """Accept weights with commas between where a list is wanted."""
    return _listed(value) if isinstance(value, str) and value not in ("none", "balanced") else value


def _number(value: object) -> object:
    """Accept a number in text where only some numbers are."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _object(value: object) -> object:
    """Accept the text of a JSON object."""
    return json.loads(value) if isinstance(value, str) else value


class TrainingConfig(BaseModel):
    """Every hyperparameter that `train` knows; its default is what an absent one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, AfterValidator(_model)] = "mlp"
    """Built-in model, or `file:function` for a model of the user's own."""
    model_arguments: Annotated[dict[str, Any], BeforeValidator(_object)] = {}
    """Keyword arguments of an own model's function, as a JSON object."""
    init_from: str = ""
    """Channel or folder with an artifact whose weights training starts from."""
    init_head: Literal["keep", "new"] = "keep"
    """Whether the last layer starts from the artifact too; new: it is made for the classes of this job."""
    task: Literal["auto", "classification", "regression", "language-modelling"] = "auto"
    """What the labels mean; auto: classification when all labels are whole numbers of at most 1,000 kinds."""
    class_weights: Annotated[
        Literal["none", "balanced"] | list[Annotated[float, Field(ge=0, allow_inf_nan=False)]],
        BeforeValidator(_weights),
    ] = "none"
    """Weight of each class in the loss; balanced: inversely to its number of samples."""
    label: str = ""
    """Field that holds the label; empty: `label`, `target`, `y` or the like, else the first column."""
    image_size: Annotated[int, Field(ge=0)] = 0
    """Side in pixels to which images are brought, their middle cut out; 0: all have one size, and keep it."""
    vocabulary: Annotated[int, Field(ge=0)] = 0
    """Number of tokens of `gpt`, where the data holds tokens; 0: the highest one of the training channel, plus 1."""
    on_bad_record: Literal["stop", "skip"] = "stop"
    """What to do with a broken record: stop with its place, or skip it and count."""
    hidden: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_listed)] = [256, 256]
    """Width of each hidden layer of `mlp`."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden values that `mlp` and `gpt` drop in training."""
    normalize: bool = True
    """Bring each feature (and the target of a regression) to mean 0 and standard deviation 1, inside the model."""
    depth: Annotated[Literal[18, 34, 50], BeforeValidator(_number)] = 18
    """Layers of `resnet`."""
    filters: Annotated[int, Field(ge=8, multiple_of=8)] = 64
    """Convolution filters of the first stage of `resnet`; each later stage has twice as many."""
    norm: Literal["group", "batch"] = "group"
    """Normalisation in `resnet`; batch: over each rank's micro-batch, so that the loss depends on their number."""
    context: Annotated[int, Field(ge=1)] = 256
    """Tokens that `gpt` looks at, and of one sample of text."""
    width: Annotated[int, Field(ge=2)] = 256
    """Values of a token's state in `gpt`, a multiple of `heads`."""
    layers: Annotated[int, Field(ge=1)] = 4
    """Blocks of `gpt`."""
    heads: Annotated[int, Field(ge=1)] = 4
    """Attention heads of each block of `gpt`."""
    positions: Literal["rope", "learned"] = "rope"
    """How `gpt` knows the order of tokens."""

    epochs: Annotated[int, Field(ge=1)] = 10
    """Passes over the training channel."""
    max_steps: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps after which training ends, whatever `epochs` says; 0: no such bound."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Samples of one optimizer step, over all ranks."""
    micro_batch_size: Annotated[int, Field(ge=0)] = 0
    """Samples of one forward pass on one rank; 0: the rank's whole share of the batch."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.001
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Decoupled weight decay of AdamW; biases and gains of normalisations do not decay."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises from 0 to its peak."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after the warm-up; linear and cosine fall to 0 at the last step."""
    grad_clip: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Largest L2 norm of all gradients together; 0: no bound."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Type of the forward pass; weights stay in fp32."""
    compile: bool = False
    """Compile the model with torch.compile; on a CPU this needs a C++ compiler in the image."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of initial weights, order of samples and dropout."""
    eval_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between evaluations on the validation channel."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Evaluations without a better validation loss after which training ends; 0: never."""
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    """Steps between checkpoints; 0: once an epoch, where the job has a checkpoint folder."""
    export_onnx: bool = True
    """Add the model as an ONNX program to the artifact, where it can be: `serve` then needs no PyTorch."""
    baseline: bool = False
    """Write statistics and constraints of the training data to the output data, for `monitor`."""
    activation_checkpointing: bool = False
    """Keep only what enters each block for the backward pass and compute the rest again: less memory, more time."""
    ledger: bool = False
    """Write a hash over the sample ids of each step beside the checkpoints; `twofold ledger` compares two runs."""
    hang_timeout: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    """Seconds without a step after which a job has hung, or 20 times the median step where that is more; 0: never."""
    parallel: Literal["auto", "none", "ddp", "fsdp", "tp", "fsdp+tp"] = "auto"
    """How ranks share the work; auto: none for one process, ddp for several, tp or fsdp+tp with `tensor_parallel`."""
    tensor_parallel: Annotated[int, Field(ge=0)] = 0
    """Ranks that share each layer of `gpt`; 0: all for tp, those of a host for fsdp+tp."""
    processes_per_host: Annotated[int, Field(ge=0)] = 0
    """Training processes on each host; 0: one for each GPU, one on a host without."""


_ALIASES = {"lr": "learning_rate", "mini_batch_size": "batch_size", "num_epochs": "epochs"}


def read_config(hyperparameters: Mapping[str, Any]) -> TrainingConfig:
    """Cast decoded hyperparameters, those of the platform taken out, into the configuration of a run.

    Raises:
        ConfigError: an unknown name (the nearest known one is offered) or a value that does not fit.
    """
    hyperparameters = _gathered(hyperparameters)
    for name in hyperparameters:
        if name not in TrainingConfig.model_fields:
            raise ConfigError(_unknown(name))
    try:
        return TrainingConfig.model_validate(dict(hyperparameters))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        given = hyperparameters[name]
        raise ConfigError(
            f"Hyperparameter {name!r} is {given!r}. {first['msg'].removeprefix('Value error, ')}. Change {name!r}."
        ) from error


def _gathered(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Put `model_depth=3` into `model_arguments` of an own model, so that a tuning job can range over it."""
    gathered, prefix = dict(hyperparameters), "model_"
    names = [name for name in gathered if name.startswith(prefix) and name not in TrainingConfig.model_fields]
    if names and ":" in str(gathered.get("model", "")):
        given = gathered.get("model_arguments", {})
        if isinstance(given, dict):
            gathered["model_arguments"] = given | {name.removeprefix(prefix): gathered.pop(name) for name in names}
    return gathered


def _unknown(name: str) -> str:
    known = list(TrainingConfig.model_fields)
    nearest = [_ALIASES[name]] if name in _ALIASES else difflib.get_close_matches(name, known, n=1)
    offer = f"Did you mean {nearest[0]!r}?" if nearest else f"Known: {', '.join(sorted(known))}."
    return f"Unknown hyperparameter {name!r}. {offer} Rename it or leave it out."
