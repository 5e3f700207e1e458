"""A worker that is kept for another request on its target: what it starts anew, and when it is let go."""

from __future__ import annotations

import pytest
from worker_requests import parameters

from paramlint.errors import ParamlintError
from paramlint.group import Proposal
from paramlint.model.process import Keeper, Request, run

#: Says which process imports it and how often it was built there. The file `mode` says what goes wrong.
NET = """
import os, socket, subprocess, sys, time
from pathlib import Path

HERE = Path.cwd()
count = 0
if (HERE / "mode").read_text() == "fail":
    raise RuntimeError("not now")


def net():
    nn = __import__("torch.nn").nn  # not before it is needed

    class Net(nn.Linear):
        def forward(self, x):
            if (HERE / "mode").read_text() == "hang":
                time.sleep(600)
            os.chdir("/")
            return super().forward(x)

    return Net(4, 4)


def build():
    global count
    count += 1
    with open(HERE / "log", "a") as log:
        print(os.getpid(), count, file=log)
    print("build", count)
    assert sys.stdin.read() == "" and subprocess.run(["cat"], capture_output=True).stdout == b""
    try:
        socket.create_connection((f"{count}.example", 80))
    except OSError:
        pass
    if child := os.fork():
        os.waitpid(child, 0)  # it goes on as a worker would, and must not take what comes next
    return net()


def groups(model):
    return [{"params": list(model.parameters())}]


def broken(model):
    raise ValueError("no groups")
"""


@pytest.fixture
def log(module, tmp_path):
    """Process and count of each build: those of forks, which do not come back to us, aside."""
    module(NET)
    (tmp_path / "mode").write_text("go on")

    def read() -> list[tuple[int, int]]:
        return [tuple(map(int, line.split())) for line in (tmp_path / "log").read_text().splitlines()]

    return read


def names(proposal: Proposal | None) -> list[str | None]:
    assert proposal is not None
    return [m.name for u in proposal.optimizers for g in u.groups for m in g.members]


def test_one_process_answers_one_request_after_the_other(log, capfd):
    with Keeper() as keeper:
        first = run(Request("m.py:build", trace=True), keeper)
        assert not keeper.again and [p.stopped for p in first.inventory.passes] == [""]
        second = run(Request("m.py:build", objects=("groups",), show_output=True), keeper)
        assert keeper.again and names(second.proposal) == list(parameters(first)) == list(parameters(second))
        assert first.notes == ("tried the network (1.example), which is off",)
        assert second.notes == ("tried the network (2.example), which is off",)
        assert first.inventory.location == second.inventory.location, "it is told from the same folder"
        assert capfd.readouterr() == ("", "build 2\n"), "only what the second prints is to be shown"
        with pytest.raises(ParamlintError, match="ValueError: no groups") as caught:
            run(Request("m.py:build", objects=("broken",)), keeper)
        assert keeper.again and caught.value.traceback.endswith("Output of the target:\n  build 3\n")
    assert log() == [(log()[0][0], count) for count in (1, 2, 3)]


def test_a_process_in_doubt_answers_no_other_request(log, tmp_path):
    (tmp_path / "mode").write_text("hang")
    with Keeper() as keeper:
        passes = run(Request("m.py:build", trace=True, trace_timeout=1.5), keeper).inventory.passes
        assert passes and all(p.stopped for p in passes), "an alarm breaks into the forward"
        (tmp_path / "mode").write_text("fail")
        with pytest.raises(ParamlintError, match="RuntimeError: not now"):
            run(Request("m.py:build"), keeper)
        assert not keeper.again
