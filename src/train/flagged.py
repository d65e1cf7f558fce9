"""Flags that all ranks must see at the same step, sent along with the gradient: a collective of their own costs a step.

rank 0  loss + flags * [0, 1] ─┐               ┌─ gradient, [0, 1/2]
                               ├─ DDP's bucket ┤                        both know: memory has run out on a rank
rank 1  loss + flags * [0, 0] ─┘               └─ gradient, [0, 1/2]
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .memory import told

_SMALLEST = 2
"""Samples that memory must do for in any case; with one, batches have no statistics."""


class Flagged(nn.Module):
    """What DDP wraps: a model, and one parameter more, whose gradient is the flags: told to stop, memory has run out.

    Peers wait for the gradient of a rank that has run out of memory, so that rank goes on with next to nothing, and
    all throw the step away.
    """

    def __init__(self, module: nn.Module) -> None:
        """Take the model, which stays as it is."""
        super().__init__()
        self.module = module
        self.ran_out = False
        like = next(parameter for parameter in module.parameters() if parameter.requires_grad)
        # Of the same type, so that DDP sends it in the same bucket.
        self.flags = nn.Parameter(torch.zeros(2, dtype=like.dtype, device=like.device))

    def forward(self, loss_of: Callable[[slice], Tensor], part: slice) -> Tensor:
        """Return the loss of a part of a batch; once memory has run out, of its first samples only.

        Raises:
            torch.OutOfMemoryError: not even these fit.
        """
        if not self.ran_out:
            try:
                return loss_of(part)
            except torch.OutOfMemoryError:
                self.ran_out = True
        # Not in the handler: the error holds on to what the failed pass has allocated.
        try:
            return loss_of(slice(part.start, min(part.start + _SMALLEST, part.stop)))
        except torch.OutOfMemoryError as error:
            raise told(error) from None

    def with_flags(self, loss: Tensor, *, interrupted: bool) -> Tensor:
        """Return a loss of the same value, whose backward pass tells all ranks the flags."""
        return loss + (self.flags * self.flags.new_tensor([interrupted, self.ran_out])).sum()

    def seen(self) -> tuple[bool, bool]:
        """Return whether any rank was told to stop, and whether memory has run out on any."""
        gradient, self.flags.grad = self.flags.grad, None
        if gradient is None:
            raise RuntimeError("flags are seen after a backward pass only")
        interrupted, ran_out = gradient.tolist()
        return bool(interrupted), bool(ran_out)
