"""What every Python that a script runs on does at its start."""

import importlib

importlib.import_module("twofold_settle")
