"""What every Python that a script runs on does at its start."""

import contextlib
import importlib

# A script may start another Python than the one that has us.
with contextlib.suppress(ImportError):
    importlib.import_module("twofold.train.settle")
