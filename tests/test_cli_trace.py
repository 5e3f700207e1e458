"""The trace on the command line: options, what reports say of it, and forwards that do not come back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import sample_runs
import torch
from click.testing import CliRunner, Result
from in_process import in_process
from torch import nn

import paramlint
from paramlint import pipeline
from paramlint.cli.main import cli
from paramlint.errors import ParamlintError
from paramlint.pipeline import Job
from paramlint.report.json import SCHEMA
from paramlint.run import Run

NETS = """
import ctypes, os, sys, time
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(100, 32)
        self.up = nn.Linear(32, 64)
        self.down = nn.Linear(64, 32)
        self.mix = nn.Parameter(torch.ones(32, 32))
        self.head = nn.Linear(32, 100)
        self.aside = nn.Linear(32, 32)
        self.lost = nn.Parameter(torch.ones(32, 32))

    def forward(self, input_ids):
        print("noise of the forward")
        self.before()
        return self.head(self.down(self.up(self.tok(input_ids)).relu()) * self.mix[0])

    def before(self):
        pass


class Fails(Net):
    def before(self):
        raise ValueError("not today")


class Leaves(Net):
    def before(self):
        sys.exit(3)


class Ends(Net):
    def before(self):
        os._exit(3)


class Crashes(Net):
    def before(self):
        ctypes.string_at(0)


class Hangs(Net):
    def before(self):
        time.sleep(600)


class Clings(Net):
    def before(self):
        while True:
            try:
                time.sleep(600)
            except Exception:
                pass


class Opaque(Net):
    def forward(self, *things):
        return super().forward(things[0]["deep"]["ids"].long())


class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(100, 32)
        self.up = nn.Linear(32, 32)
        self.gain = None

    def forward(self, input_ids):
        x = self.tok(input_ids)
        if self.gain is None:
            self.gain = nn.Parameter(torch.ones(x.shape[-1]))
        self.up.weight = nn.Parameter(self.up.weight.float())
        return self.up(x) * self.gain


tensor = torch.zeros(1, 8, dtype=torch.long)
arguments = {"input_ids": tensor}


def batch(model):
    assert isinstance(model, nn.Module)
    return ({"deep": {"ids": tensor}},) if isinstance(model, Opaque) else (tensor,)


def wrong():
    return torch.zeros(1, 8)


def broken():
    raise KeyError("no such file")


def groups(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def invoke(*arguments: str) -> Result:
    with in_process():
        return with_worker(*arguments)


def with_worker(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def model(*arguments: str) -> dict:
    return target_of(invoke("params", *arguments, "--output-format", "json"))


def target_of(result: Result) -> dict:
    """The one target of the JSON document."""
    made = json.loads(result.stdout)
    jsonschema.validate(made, json.loads(SCHEMA.read_text()))
    assert result.exit_code == 0
    return made["targets"][0]


def roles(target: dict) -> dict[str, str]:
    return {p["name"]: p["role"] for p in target["parameters"]}


# Inputs


@pytest.mark.parametrize("inputs", [":tensor", "arguments", "nets.py:batch", "nets:batch"])
def test_inputs_in_all_their_forms(inputs: str) -> None:
    target = model("nets.py:Net", "--inputs", inputs)
    (tried,) = target["passes"]
    assert tried["stopped"] == "" and "(1, 8)" in tried["inputs"]
    assert roles(target)["mix"] == "elementwise"
    reach = {p["name"]: p["reach"] for p in target["parameters"]}
    assert reach["mix"] == "read" and reach["lost"] == "unused" and reach["aside.weight"] == "unreached"
    (use,) = next(p for p in target["parameters"] if p["name"] == "tok.weight")["uses"]
    assert use == {"op": "lookup", "function": "embedding", "index": "data"}


def test_inputs_that_cannot_be_guessed_are_asked_for() -> None:
    result = invoke("params", "nets.py:Opaque")
    last = result.stdout.splitlines()[-1]
    assert result.exit_code == 0 and last.startswith("not traced: ") and "--inputs" in last
    assert result.stderr == "", "the table says it"
    assert roles(model("nets.py:Opaque", "--inputs", ":batch"))["mix"] == "elementwise"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nets.py:Net", "--inputs", ":wrong"], "error: --inputs :wrong: the forward stops on (1, 8): RuntimeError: "),
        (["nets.py:Fails", "--inputs", ":tensor"], "the forward stops on (1, 8): ValueError: not today; "),
        (["nets.py:Net", "--inputs", ":broken"], "error: --inputs :broken: KeyError: no such file (nets.py:"),
        (["nets.py:Net", "--inputs", ":tenser"], "nets.py has no attribute 'tenser'; did you mean tensor?"),
        (["nets.py:Net", "--inputs", ":Net"], "error: --inputs :Net: inputs are a Net; give a tensor, "),
        (["nets.py:Net", "--inputs", "hf:gpt2"], "names a model, not something beside one"),
        (["hf:gpt2", "--inputs", ":batch"], "hf:gpt2 has none to look in; name the file too: path/file.py:batch"),
    ],
)
def test_wrong_inputs_are_one_line(arguments: list[str], said: str) -> None:
    result = invoke("check", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr and len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_wrong_inputs_of_a_live_model() -> None:
    with pytest.raises(ParamlintError, match="the forward stops"):
        paramlint.inspect(nn.Linear(4, 4), inputs=torch.zeros(2, 5))
    with pytest.raises(ParamlintError, match="inputs are a int; give a tensor"):
        paramlint.inspect(nn.Linear(4, 4), inputs=3)


def test_inputs_do_not_draw_from_the_generators() -> None:
    live = nn.Linear(4, 4)
    state = torch.get_rng_state()
    paramlint.inspect(live, inputs=lambda: torch.randn(2, 4))
    assert torch.equal(torch.get_rng_state(), state)


# Which evidence speaks


def test_evidence_layers_are_those_of_inspect() -> None:
    by_module = model("nets.py:Net", "--evidence", "module, shape")
    assert {e["layer"] for p in by_module["parameters"] for e in p["evidence"]} <= {"module", "shape"}
    assert by_module["passes"] == [], "no trace without use"
    by_use = model("nets.py:Net", "--evidence", "use", "--inputs", ":tensor")
    assert {e["layer"] for p in by_use["parameters"] for e in p["evidence"]} == {"use"}
    assert roles(by_use)["lost"] in ("unknown", "unused")


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("use,mdule", "no evidence layer 'mdule'; did you mean 'module'?"),
        ("zzz", "layers are identity, use, module, accessor, structure, shape, name"),
        (",", "it names no layer"),
    ],
)
def test_unknown_layers(layers: str, said: str) -> None:
    result = invoke("params", "nets.py:Net", "--evidence", layers)
    assert result.exit_code == 2 and said in " ".join(result.stderr.split())


def test_no_trace() -> None:
    target = model("nets.py:Net", "--no-trace")
    assert target["passes"] == []
    assert all(p["reach"] == "" and p["uses"] == [] for p in target["parameters"])
    for options in (["--no-trace"], ["--evidence", "name"]):
        result = invoke("params", "nets.py:Net", "--inputs", ":tensor", *options)
        assert result.exit_code == 2 and "--inputs are for the trace" in result.stderr


def test_the_configuration_has_inputs_and_trace(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []

    def looked(job: Job, *, checks: bool) -> Run:
        jobs.append(job)
        return sample_runs.run()

    monkeypatch.setattr("paramlint.cli.jobs.analyse", looked)

    def wanted(*arguments: str) -> tuple[bool, str | None]:
        assert invoke("params", *arguments).exit_code == 0
        return jobs[-1].trace, jobs[-1].inputs

    (here / "paramlint.toml").write_text(
        'trace = false\n[targets.plain]\ntarget = "nets.py:Net"\n'
        '[targets.traced]\ntarget = "nets.py:Opaque"\ninputs = "nets.py:batch"\ntrace = true\n'
    )
    assert wanted("plain") == (False, None)
    assert wanted("plain", "--trace", "--inputs", ":tensor") == (True, ":tensor")
    assert wanted("traced") == (True, "nets.py:batch")
    assert wanted("traced", "--no-trace") == (False, "nets.py:batch")
    assert wanted("nets.py:build", "--isolated") == (True, None)
    (here / "paramlint.toml").write_text("trace = 1\n")
    assert "'trace' must be a boolean" in invoke("params", "nets.py:Net").stderr


# Forwards that do not come back


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Ends", "it ended the process with exit code 3"),
        ("Crashes", "the process that ran it crashed (SIGSEGV) at nets.py:"),
    ],
)
def test_a_forward_that_ends_the_process_costs_the_trace_alone(name: str, said: str) -> None:
    result = with_worker("params", f"nets.py:{name}", "--inputs", ":tensor", "--output-format", "json")
    target = target_of(result)
    assert any(said in tried["stopped"] for tried in target["passes"])
    assert roles(target)["tok.weight"] == "embedding" and roles(target)["lost"] == "unknown"
    assert "noise" not in result.output, "what the forward prints mixes with nothing"


def test_a_forward_that_leaves_costs_the_trace_alone() -> None:
    target = model("nets.py:Leaves")
    assert any("3" in tried["stopped"] for tried in target["passes"])
    assert roles(target)["tok.weight"] == "embedding" and roles(target)["lost"] == "unknown"


def test_forwards_that_hang_cost_the_trace_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that an error gets out of it, and one that clings to it."""
    assert pipeline.request(Job("", "nets.py:Hangs", timeout=9)).trace_time == 9
    asked = pipeline.request
    monkeypatch.setattr(pipeline, "request", lambda job: replace(asked(job), trace_timeout=2.0))
    result = with_worker("check", "nets.py:Hangs", "nets.py:Clings", "--groups", ":groups", "--output-format", "json")
    hangs, clings = json.loads(result.stdout)["targets"]
    assert result.exit_code == 0 and hangs["groups"] and clings["groups"], "groups are read before the forward runs"
    for target in (hangs, clings):
        assert target["passes"] and all(tried["stopped"] for tried in target["passes"])
        assert re.search("did not finish within 2 s|no end after 1.5 s", target["passes"][-1]["stopped"])
    assert [line.partition(": not traced: ")[0] for line in result.stderr.splitlines()] == [
        "note: nets.py:Hangs",
        "note: nets.py:Clings",
    ]


# What reports say


def test_the_table_ends_with_what_was_traced() -> None:
    result = invoke("params", "nets.py:Net", "--inputs", ":arguments")
    assert result.stdout.splitlines()[-3:] == [
        "",
        "traced: input_ids (1, 8)",
        "2 parameters not reached; 1 read by nothing: lost",
    ]
    full = invoke("params", "nets.py:Net", "--inputs", ":arguments", "--output-format", "full").stdout
    assert full.splitlines()[-2] == "traced: input_ids (1, 8)"


def test_why_shows_uses_and_reach() -> None:
    full = invoke("params", "nets.py:Net", "--inputs", ":tensor", "--output-format", "full").stdout
    about = {part.split()[0]: part for part in re.split(r"\n\n(?=\w)", full)}
    assert "  used as  rows picked (embedding, argument 0): by the data\n" in about["tok.weight"]
    assert "the last before an output" in about["head.weight"]
    assert "  used as  nothing: the module that owns it ran, and nothing read it\n" in about["lost"]
    assert "  used as  not known: no traced pass ran the module that owns it\n" in about["aside.weight"]


def test_verbose_lists_the_passes_and_what_they_print() -> None:
    done = with_worker("params", "nets.py:Net", "--inputs", ":tensor", "-v")
    assert "nets.py:Net: pass on (1, 8), on meta: complete" in done.stderr and "noise of the forward" in done.stderr
    assert "noise" not in done.stdout
    fails = invoke("params", "nets.py:Fails", "-v").stderr
    assert "nets.py:Fails: pass" in fails and "stopped by ValueError: not today" in fails


# Parameters that the forward makes


def test_parameters_made_in_the_forward_are_late() -> None:
    result = invoke("check", "nets.py:Late", "--groups", ":groups", "--inputs", ":tensor", "--output-format", "json")
    found = {d["message"]: d["parameters"] for d in json.loads(result.stdout)["targets"][0]["diagnostics"]}
    assert result.exit_code == 1
    assert found["is made in the forward, and is in no group"] == ["gain"]
    assert found["is replaced in the forward: the groups hold the tensor from before"] == ["up.weight"]


def test_the_model_itself_is_left_alone() -> None:
    class Grows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.gain = nn.Parameter(torch.ones(4))
            return self.up(x) * self.gain

    live = Grows()
    run = paramlint.check(live, torch.optim.AdamW(live.parameters()))
    assert [f.parameters for f in run.findings if f.code == "PML107"] == [("gain",)]
    assert [name for name, _ in live.named_parameters()] == ["up.weight", "up.bias"] and live.training
