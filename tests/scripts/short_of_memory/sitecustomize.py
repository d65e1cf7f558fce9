"""On PYTHONPATH of a job: one of its ranks runs out of device memory in the feed-forward blocks of `gpt`.

    SHORT='{"rank": 1, "most": 2, "place": "backward", "after": 4}'

`most` samples fit, in the `forward` pass, the `backward` pass or an evaluation (`measure`), or in the last layer of all
(`head`); in the first `after` passes of a process all do. Once all ranks have begun again: with `hold`, the name of a
file, they write it and wait for good; with `hang` the rank waits for good after so many passes. With `stuck` it cannot
leave the other ranks once it has run out, as by NCCL; those wait for it.
"""

import json
import os
import signal
import time
from pathlib import Path

short = json.loads(os.environ.get("SHORT", "{}"))
if short and os.environ.get("RANK") == str(short["rank"]):
    import torch
    from limited import LimitedInBackward
    from twofold.models import gpt

    passes = []

    def limit(states):
        passes.append(len(states))
        if len(passes) > short.get("after", 0) and len(states) > short["most"]:
            raise torch.OutOfMemoryError(f"Tried to allocate {len(states)} samples")
        while "TWOFOLD_RESTART" in os.environ and len(passes) > short.get("hang", float("inf")):
            time.sleep(0.1)

    if short.get("stuck") and "TWOFOLD_RESTART" not in os.environ:
        torch.distributed.destroy_process_group = signal.pause

    plain = gpt.FeedForward.forward

    def limited(self, states):
        if short["place"] == "backward":
            states = LimitedInBackward.apply(states, limit)
        elif self.training == (short["place"] == "forward"):
            limit(states)
        return plain(self, states)

    made = gpt.GPT.__init__

    def with_limited_head(self, **arguments):
        made(self, **arguments)
        self.head.register_forward_pre_hook(lambda _, inputs: limit(inputs[0]))

    if short["place"] == "head":
        gpt.GPT.__init__ = with_limited_head
    else:
        gpt.FeedForward.forward = limited
if "hold" in short and "TWOFOLD_RESTART" in os.environ and "RANK" in os.environ:
    Path(short["hold"]).touch()
    while True:
        signal.pause()
