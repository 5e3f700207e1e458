"""What can go wrong when a target is built: always one clear line, and nothing is left running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker_requests import ROOT, fails

# Code that does not return.
# It runs as the module is imported: the same happens in a function, after torch is imported.


@pytest.mark.parametrize(
    ("code", "says", "hint"),
    [
        ("import sys\nsys.exit(3)", "calls sys.exit(3) (m.py:2)", "only builds the model"),
        ("import sys\nsys.exit()", "calls sys.exit() (m.py:2)", ""),
        ("import os\nos._exit(0)", "ended the process with exit code 0 before there was a model", "os._exit"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "was killed (SIGKILL)", "lack of memory"),
        ("import ctypes\ndef f():\n  ctypes.string_at(0)\nf()", "crashed (SIGSEGV) at m.py:3 in f", ""),
        ("import os\nos.abort()", "crashed (SIGABRT) at m.py:2", ""),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (m.py:1)", ""),
        ("def f():\n  raise ValueError('wrong\\nsize')\nf()", "ValueError: wrong (m.py:2 in f)", ""),
        ("def f():\n  return f()\nf()", "RecursionError: maximum recursion depth exceeded (m.py:2 in f)", ""),
        ("class E(Exception):\n  def __str__(self): 1/0\nraise E", "m:build: E (m.py:3)", ""),
        ("import nosuchpackage.part", "needs the module 'nosuchpackage', which is not installed here (m.py:1)", ""),
        ("from json import nothing", "ImportError: cannot import name 'nothing' from 'json'", ""),
        ("import sys\nsys.modules['torch'] = None\nimport torch", "needs torch, which is", 'pip install "paramlint[mo'),
        (
            "import os\ndef f():\n  return os.environ['WIDTH_OF_NET']\nf()",
            "m:build: needs the environment variable WIDTH_OF_NET, which is not set (m.py:3 in f)",
            "WIDTH_OF_NET=... paramlint ...",
        ),
        ("raise KeyError('no such size')", "m:build: KeyError: no such size (m.py:1)", ""),
        ("input('name? ')", "EOFError: EOF when reading a line (m.py:1)", ""),
        ("x = bytearray(1 << 60)", "needs more memory than there is: MemoryError (m.py:1)", ""),
        (
            "import os\nif os.fork() == 0: raise ValueError('child')\nos.wait()\nraise ValueError('parent')",
            "ValueError: parent (m.py:4)",
            "",
        ),
    ],
)
def test_code_that_does_not_come_back(code, says, hint, module):
    module(code)
    error = fails("m:build")
    assert says in str(error)
    assert hint in error.hint


@pytest.mark.parametrize("name", ["types", "typing", "enum", "collections", "json"])
def test_files_named_as_the_standard_library_are_not_taken_for_it(name, module):
    module("raise ValueError('mine')", f"{name}.py")
    module("raise ValueError('all good')")
    assert str(fails("m.py:build")) == "m.py:build: ValueError: all good (m.py:1)"
    assert str(fails(f"{name}.py:build")) == f"{name}.py:build: ValueError: mine ({name}.py:1)"


@pytest.mark.parametrize("name", ["torch", "numpy", "logging"])
def test_a_file_that_hides_a_library_is_named(name, module):
    module("import torch\nfrom torch import nn\n", f"{name}.py")
    module("from torch import nn\ndef build(): return nn.Linear(2, 2)\n")
    assert f"{name}.py hides the installed '{name}'" in fails("m.py:build").hint


def test_a_hang_is_ended_and_placed(module):
    module("import time\ndef wait():\n  print('still here')\n  time.sleep(600)\nwait()\n")
    start = time.monotonic()
    error = fails("m.py:build", timeout=2)
    assert time.monotonic() - start < 10
    assert str(error).startswith("m.py:build: did not finish within 2 s, and was at m.py:4 in wait; ")
    assert "  still here" in error.traceback


def test_children_are_killed_too(module, tmp_path):
    module(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "raise SystemExit\n"
    )
    start = time.monotonic()
    assert "calls sys.exit()" in str(fails("m:build"))
    assert time.monotonic() - start < 10
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not _alive(pid):
            return
        time.sleep(0.05)
    pytest.fail("the child outlived the worker")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_the_worker_dies_with_its_parent(sent, module, tmp_path):
    module("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    code = "from paramlint.model.process import *; run(Request('m:build'))"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": ROOT}
    )
    for _ in range(200):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    parent.send_signal(sent)
    parent.wait()
    for _ in range(100):
        if not _alive(pid):
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent")


def test_the_traceback_is_the_users_alone(module):
    module("def inner():\n  print('on the way')\n  {}['key']\ndef outer():\n  inner()\nouter()\n")
    text = fails("m:build").traceback
    assert [int(n) for n in re.findall(r'm\.py", line (\d+)', text)] == [6, 5, 3]
    assert "paramlint/" not in text and "importlib" not in text
    assert text.index("KeyError: 'key'") < text.index("Output of the target:\n  on the way")


# The network


@pytest.mark.parametrize(
    ("code", "host"),
    [
        ("import urllib.request\nurllib.request.urlopen('http://weights.example/a')", "weights.example"),
        ("import socket\nsocket.create_connection(('192.0.2.7', 80))", "192.0.2.7"),
        (
            "import urllib.request\ntry:\n  urllib.request.urlopen('https://weights.example/a')\n"
            "except OSError as e:\n  pass\nraise ValueError('no weights')",
            "weights.example",
        ),
        ("import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.7', 9))", "192.0.2.7"),
    ],
)
def test_the_network_is_off_and_named_as_the_cause(code, host, module):
    module(code)
    error = fails("m:build")
    assert f"tries the network ({host}), which is off" in str(error)
    assert "--allow-network" in error.hint


def test_this_machine_and_unix_sockets_are_not_the_network(module):
    module(
        "import socket, multiprocessing\na, b = socket.socketpair()\n"
        "s = socket.create_server(('127.0.0.1', 0))\nsocket.create_connection(('localhost', s.getsockname()[1]))\n"
        "raise ValueError('all good')\n"
    )
    assert str(fails("m:build")) == "m:build: ValueError: all good (m.py:5)"


# The command line


def test_the_command_line_says_it_in_one_line_on_stderr(module):
    module("import sys\nprint('noise')\nsys.exit(0)\n")
    command = [sys.executable, "-m", "paramlint", "params", "m.py:build", "--output-format", "json"]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT})
    assert ran.returncode == 2 and json.loads(ran.stdout)["summary"]["failed"] == 1
    assert ran.stderr.strip().endswith(
        "m.py:build: calls sys.exit(0) (m.py:3); name a function that only builds the model"
    )
    assert "noise" not in ran.stdout + ran.stderr
