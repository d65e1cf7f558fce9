"""Stands in for torchrun: starts two ranks, each in a session of its own, and ends as the first that failed."""

import subprocess
import sys

ranks = [subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True) for _ in range(2)]
codes = [rank.wait() for rank in ranks]
sys.exit(next((code for code in codes if code), 0))
