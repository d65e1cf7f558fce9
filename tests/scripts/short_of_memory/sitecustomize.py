"""On PYTHONPATH of a job: one of its ranks runs out of device memory in a feed-forward block of `gpt`.

    SHORT='{"rank": 1, "most": 2, "place": "backward", "after": 4}'

`most` samples fit, in the `forward` pass, the `backward` pass or an evaluation (`measure`); not in the first `after`
passes of a process all do. `hold` names a file: such a rank writes it, and waits until it is gone.
"""

import json
import os
import time
from pathlib import Path

short = json.loads(os.environ.get("SHORT", "{}"))
if short and os.environ.get("RANK") == str(short["rank"]):
    import torch
    from twofold.models import gpt

    passes = []

    def limit(states):
        passes.append(len(states))
        if len(passes) > short.get("after", 0) and len(states) > short["most"]:
            raise torch.OutOfMemoryError(f"Tried to allocate {len(states)} samples")

    class LimitedInBackward(torch.autograd.Function):
        """Nothing but the limit."""

        @staticmethod
        def forward(_, states):
            return states.clone()

        @staticmethod
        def backward(_, gradient):
            limit(gradient)
            return gradient

    plain = gpt.FeedForward.forward

    def limited(self, states):
        if short["place"] == "backward":
            states = LimitedInBackward.apply(states)
        elif self.training == (short["place"] == "forward"):
            limit(states)
        return plain(self, states)

    gpt.FeedForward.forward = limited
if "hold" in short and "TWOFOLD_RESTART" in os.environ and "RANK" in os.environ:
    held = Path(short["hold"])
    held.touch()
    while held.exists():
        time.sleep(0.01)
