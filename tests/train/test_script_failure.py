"""What last lines say, among them those of real interpreters that fail."""

import subprocess
import sys

import pytest
from twofold.train.script_failure import find_fault

LIBRARY = """Traceback (most recent call last):
  File "{folder}/train.py", line 9, in <module>
    main()
  File "{folder}/train.py", line 5, in main
    model.fit(rows)
    ^^^^^^^^^^^^^^^
  File "/opt/venv/lib/python3.11/site-packages/torch/nn.py", line 1, in fit
    raise ValueError("bad rows")
ValueError: bad rows
"""
STATE = """Traceback (most recent call last):
  File "{folder}/train.py", line 9, in <module>
    model.load_state_dict(state)
RuntimeError: Error(s) in loading state_dict for Net:
\tMissing key(s) in state_dict: "a".
"""
IGNORED = """Exception ignored in: <function Pool.__del__ at 0x7f>
Traceback (most recent call last):
  File "/usr/lib/python3.11/pool.py", line 1, in __del__
OSError: closed
"""
WORKER = """Traceback (most recent call last):
  File "{folder}/train.py", line 3, in <module>
    for batch in loader:
RuntimeError: Caught KeyError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "{folder}/data.py", line 7, in __getitem__
    return self.rows[index]
KeyError: 7
"""
GLOO = """[rank0]: Traceback (most recent call last):
[rank0]:   File "{folder}/train.py", line 3, in <module>
[rank0]:     dist.barrier()
[rank0]: RuntimeError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1
"""


def cause(text, tmp_path, code=1):
    return find_fault(text.format(folder=tmp_path).splitlines(), code, name="train.py", folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LIBRARY, "ValueError: bad rows (at {folder}/train.py:5 in main: model.fit(rows))"),
        (LIBRARY + IGNORED, "ValueError: bad rows (at {folder}/train.py:5 in main: model.fit(rows))"),
        (LIBRARY + "During handling\n\n" + LIBRARY.replace("bad rows", "second"), "ValueError: second (at"),
        (
            STATE,
            'RuntimeError: Error(s) in loading state_dict for Net: Missing key(s) in state_dict: "a". (at',
        ),
        ("noise\n" + WORKER, "KeyError: 7 (at {folder}/data.py:7 in __getitem__: return self.rows[index])"),
        (
            GLOO,
            "RuntimeError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1 (at",
        ),
        ("epoch 1\nno space left\n\n", "train.py ended with exit code 1: no space left"),
        ("", "train.py ended with exit code 1"),
        ("Traceback (most recent call last):\n", "train.py ended with exit code 1: Traceback"),
    ],
    ids=["library", "shutdown", "chain", "lines", "worker", "gloo", "no traceback", "silence", "cut"],
)
def test_the_cause_is_the_last_exception_and_the_users_line(text, expected, tmp_path):
    found = cause(text, tmp_path)
    assert found.text.startswith("user code: " + expected.format(folder=tmp_path))
    assert found.exit_code == 1


def test_what_lost_its_peer_is_a_consequence(tmp_path):
    assert cause(GLOO, tmp_path).peer
    assert not cause(LIBRARY, tmp_path).peer


def test_a_signal_is_named_whatever_was_printed_before(tmp_path):
    found = cause(LIBRARY, tmp_path, code=-9)
    assert found.text.startswith("platform: train.py was killed by SIGKILL (signal 9): perhaps out of memory")
    assert found.exit_code == 137


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "def step():\n    raise ValueError('boom')\nstep()\n",
            "ValueError: boom (at {path}:2 in step: raise",
        ),
        (
            "import nothing_of_this_name\n",
            "ModuleNotFoundError: No module named 'nothing_of_this_name' (at {path}:1",
        ),
        ("def step(:\n", "SyntaxError: invalid syntax (at {path}:1: def step(:)"),
        ("if True:\npass\n", "IndentationError: expected an indented block"),
        (
            "try:\n    1 / 0\nexcept ArithmeticError as e:\n    raise KeyError('x') from e\n",
            "KeyError: 'x' (at {path}:4",
        ),
        (
            "import sys\nprint('done with it')\nsys.exit(3)\n",
            "train.py ended with exit code 3: done with it",
        ),
        ("import sys\nsys.exit('no data')\n", "train.py ended with exit code 1: no data"),
    ],
    ids=["exception", "import", "syntax", "indentation", "chained", "exit", "exit with a text"],
)
def test_real_interpreters_are_understood(source, expected, tmp_path):
    path = tmp_path / "train.py"
    path.write_text(source)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    found = find_fault(output.splitlines(), done.returncode, name="train.py", folder=tmp_path)
    assert found.text.startswith("user code: " + expected.format(path=path)), output
