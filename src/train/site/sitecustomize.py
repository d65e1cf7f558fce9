"""What every Python that a script runs on does at its start, and then what it would have done without this."""

import importlib
import importlib.util
import os
import sys
from importlib.machinery import PathFinder

importlib.import_module("twofold_settle")

# PYTHONPATH comes before the folders of packages, so this file hides one that is installed there.
_others = [path for path in sys.path if path != os.path.dirname(__file__)]  # noqa: PTH120 - pathlib costs every start
_hidden = PathFinder.find_spec(__name__, _others)
if _hidden is not None and _hidden.loader is not None:
    _hidden.loader.exec_module(importlib.util.module_from_spec(_hidden))
