"""The command line: options, exit codes, streams. Nothing here starts a worker."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from sample_runs import finding, inventory, run

from paramlint.cli.main import COMMANDS, cli
from paramlint.errors import ParamlintError
from paramlint.model.process import Request, Response
from paramlint.parameter import Parameter
from paramlint.pipeline import Job
from paramlint.registry import RULES
from paramlint.report.json import SCHEMA
from paramlint.run import Run

WTE = finding("PML203", "wte.weight")
FUSED = finding("PML212", "h.0.attn.qkv.weight", severity="warning")


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Looked:
    """Stands in for the pipeline: keeps the jobs, answers with what a test wants."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.answers: dict[str, Run | BaseException] = {}
        self.answer: Run | BaseException = run()

    def __call__(self, job: Job, *, checks: bool = True) -> Run:
        self.jobs.append(job)
        answer = self.answers.get(job.label, self.answer)
        if isinstance(answer, BaseException):
            raise answer
        kept = tuple(f for f in answer.findings if f.code in job.codes)
        return replace(answer, target=job.label, findings=kept)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    fake = Looked()
    monkeypatch.setattr("paramlint.cli.jobs.analyse", fake)
    return fake


# Exit codes and streams of check


def test_clean_is_zero_and_one_line(looked: Looked) -> None:
    result = invoke("check", "train.py:build")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "All checks passed: 37 parameters (14.2M), 26 (1.3M) to Muon, 10 (12.9M) to AdamW, 1 (256) frozen"
        "; groups read as keller"
    ]
    assert result.stderr == ""


def test_findings_are_one_and_on_stdout_notes_on_stderr(looked: Looked) -> None:
    looked.answer = run(WTE, notes=("built as GPT",))
    result = invoke("check", "train.py:build")
    assert result.exit_code == 1
    assert "wte.weight: PML203 error: is in Muon group 0" in result.stdout
    assert "Found 1 error in 37 parameters" in result.stdout
    assert "paramlint explain PML203" in result.stdout
    assert result.stderr == "note: built as GPT\n"
    assert "\x1b" not in result.output
    quiet = invoke("check", "train.py:build", "-q")
    assert quiet.stderr == "" and "Found" not in quiet.stdout and "PML203" in quiet.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 0), (["--fail-on", "warning"], 1), (["--fail-on", "warning", "--exit-zero"], 0), (["--fail-on", "note"], 1)],
)
def test_fail_on_says_from_where_findings_fail(looked: Looked, arguments: list[str], code: int) -> None:
    looked.answer = run(FUSED)
    assert invoke("check", "x.py:f", *arguments).exit_code == code


def test_select_and_ignore(looked: Looked) -> None:
    looked.answer = run(WTE, FUSED)
    assert "PML212" not in invoke("check", "x.py:f", "--select", "PML203").stdout
    assert invoke("check", "x.py:f", "--ignore", "PML203,PML212").stdout.startswith("All checks passed")
    assert "PML203" in invoke("check", "x.py:f", "--select", "PML1", "--extend-select", "PML203").stdout
    wrong = invoke("check", "x.py:f", "--ignore", "PLM201")
    assert wrong.exit_code == 2 and "error: --ignore: no rule matches 'PLM201'; did you mean 'PML201'?" in wrong.stderr


def test_concise_and_statistics(looked: Looked) -> None:
    looked.answer = run(WTE, FUSED)
    lines = invoke("check", "x.py:f", "--output-format", "concise").stdout.splitlines()
    assert lines[0] == "train.py:88: PML203 is in Muon group 0: wte.weight"
    assert lines[-1] == "Found 1 error, 1 warning in 37 parameters (14.2M)"
    counted = invoke("check", "x.py:f", "--statistics").stdout
    assert [line.split()[:2] for line in counted.splitlines()[:2]] == [["1", "PML203"], ["1", "PML212"]]


def test_a_target_that_cannot_be_built_is_two_and_one_line(looked: Looked) -> None:
    looked.answer = ParamlintError("NameError: x", where="t.py:3", hint="define it", traceback="Traceback of t\n")
    for command in ("params", "check"):
        result = invoke(command, "t.py:build")
        assert result.exit_code == 2
        assert result.stderr == "error: t.py:3: NameError: x; define it\n"
        assert result.stdout == ""
    assert "Traceback of t" in invoke("check", "t.py:build", "--traceback").stderr
    assert invoke("check", "t.py:build", "--exit-zero").exit_code == 2


def test_a_fault_of_our_own_is_two_and_one_line(looked: Looked) -> None:
    looked.answer = ZeroDivisionError("by\nzero")
    result = invoke("check", "t.py:build")
    assert result.exit_code == 2
    assert result.stderr == "internal error: ZeroDivisionError: by zero; run with --traceback and report it\n"
    assert "Traceback (most recent call last)" in invoke("check", "t.py:build", "--traceback").stderr


def test_an_interrupt_is_130(looked: Looked) -> None:
    looked.answer = KeyboardInterrupt()
    assert invoke("check", "t.py:build").exit_code == 130


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "Did you mean 'check'?"),
        (["check", "x.py:f", "--kwargs", "{a"], "a JSON object such as"),
        (["check", "x.py:f", "--kwargs", "[1]"], "a JSON object such as"),
        (["check", "x.py:f", "--memory-limit", "lots"], "not a size such as 8GB"),
        (["check", "x.py:f", "--timeout", "0"], "0.0 is not in the range x>0"),
        (["check", "x.py:f", "--timeout", "nan"], "nan is not a number of seconds"),
        (["check", "x.py:f", "--memory-limit", "0.0001k"], "not a size such as 8GB"),
        (["check", "x.py:f", "--select", ""], "--select names no rule"),
        (["check", "x.py:f", "--select", ","], "--select names no rule"),
        (
            ["check", "x.py:f", "--optimizer", "kelller"],
            "no optimizer 'kelller'; did you mean 'keller', or for an object",
        ),
        (["check", "x.py:f", "--optimizer", "keller", "--optimizer", "dion"], "names two optimizers, keller and dion"),
        (["check", "x.py:f", "--config", "none.toml"], "none.toml: no such file"),
        (["check", "x.py:f", "--config", "x.toml", "--isolated"], "exclude each other"),
        (["check"], "no configuration file was found"),
        (["params"], "no configuration file was found"),
        (["explain", "PLM201"], "error: no rule 'PLM201'; did you mean PML201?"),
        (["optimizers", "kelller"], "did you mean 'keller'?"),
        (["policies", "kelller"], "did you mean 'keller'?"),
        (["params", "x.py:f", "--output-file", "no/such/folder.txt"], "No such file or directory"),
    ],
)
def test_wrong_usage_is_two(looked: Looked, arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


# Jobs


CONFIG = """
policy = "moonlight"
timeout = 9
ignore = ["PML104"]
roles = { "a.*" = "router", "b" = "bias" }
[targets.gpt]
target = "train.py:build"
kwargs = { n_layer = 2, d = 1 }
groups = ":split"
optimizer = "keller"
roles = { "b" = "scale" }
[targets.vit]
target = "vit.py:build"
"""


def test_the_command_line_lies_over_the_target_over_the_project(looked: Looked, here: Path) -> None:
    (here / "paramlint.toml").write_text(CONFIG)
    invoke("check", "gpt", "--kwargs", '{"d": 3}', "--policy", "keller", "--memory-limit", "2GB", "--device", "cpu")
    (job,) = looked.jobs
    assert (job.label, job.target, job.kwargs) == ("gpt", "train.py:build", {"n_layer": 2, "d": 3})
    assert (job.objects, job.profile, job.policy) == ((":split",), "keller", "keller")
    assert (job.timeout, job.memory_limit, job.device) == (9.0, 2 * 10**9, "cpu")
    assert list(job.roles.items()) == [("a.*", "router"), ("b", "scale")]
    assert job.codes == {r.code for r in RULES if r.on} - {"PML104"}


def test_objects_and_profile_of_the_command_line(looked: Looked, here: Path) -> None:
    (here / "paramlint.toml").write_text(CONFIG)
    invoke("check", "train.py:build", "--optimizer", "muon", "--optimizer", "a.py:opt", "--groups", ":mine")
    invoke("check", "train.py:build", "--isolated")
    first, isolated = looked.jobs
    assert (first.objects, first.profile) == ((":mine", "a.py:opt"), "torch-muon")
    assert invoke("check", "train.py:build", "--config", os.devnull).exit_code == 0
    assert (isolated.objects, isolated.policy, isolated.timeout) == ((), "default", None)


def test_without_a_target_all_of_the_configuration(looked: Looked, here: Path) -> None:
    (here / "paramlint.toml").write_text(CONFIG)
    looked.answers["gpt"] = run(WTE)
    looked.answers["vit"] = ParamlintError("crashed (SIGSEGV)", where="vit.py:build")
    result = invoke("check")
    assert [job.label for job in looked.jobs] == ["gpt", "vit"]
    assert result.exit_code == 2
    assert result.stdout.startswith("gpt (GPT, 37 parameters)")
    assert "PML203" in result.stdout, "one that crashes does not take the others with it"
    assert result.stderr == "error: vit.py:build: crashed (SIGSEGV)\n"
    looked.answers["vit"] = run()
    both = invoke("check")
    assert both.exit_code == 1
    assert "gpt (GPT, 37 parameters)" in both.stdout and "vit (GPT" in both.stdout
    assert "of 2 targets" in both.stdout


# Without groups


def test_without_groups_the_split_is_shown(looked: Looked) -> None:
    looked.answer = run(grouped=False, profile="torch-muon")
    result = invoke("check", "x.py:f", "--optimizer", "torch-muon")
    assert result.exit_code == 0
    assert result.stdout.startswith("no groups to check: this is the right split for torch-muon")
    assert "All checks passed" not in result.stdout
    concise = invoke("check", "x.py:f", "--output-format", "concise")
    assert concise.stdout == "" and "no groups to check" in concise.stderr
    invoke("check", "x.py:f", "--output-format", "concise", "--output-file", "empty.txt")
    assert Path("empty.txt").read_text() == ""


# JSON and files


@pytest.mark.parametrize("command", ["params", "check"])
def test_json_is_on_stdout_alone_and_valid(looked: Looked, here: Path, command: str) -> None:
    (here / "paramlint.toml").write_text(CONFIG)
    looked.answers["gpt"] = run(WTE, notes=("a note",))
    looked.answers["vit"] = ParamlintError("gone", where="vit.py")
    result = invoke(command, "--output-format", "json")
    made = json.loads(result.stdout)
    jsonschema.validate(made, json.loads(SCHEMA.read_text()))
    assert result.exit_code == 2
    assert [t["target"] for t in made["targets"]] == ["gpt"]
    assert made["failures"] == [{"target": "vit", "where": "vit.py", "message": "gone", "hint": ""}]
    assert made["targets"][0]["notes"] == ["a note"]


def test_output_file(looked: Looked, here: Path) -> None:
    looked.answer = run(WTE)
    result = invoke("check", "x.py:f", "--output-file", "out.txt")
    assert result.exit_code == 1 and result.stdout == ""
    assert "PML203" in (here / "out.txt").read_text(encoding="utf-8")


def test_color_can_be_forced_and_forbidden(looked: Looked) -> None:
    looked.answer = run(WTE)
    assert "\x1b[1;31merror:\x1b[0m" in invoke("check", "x.py:f", "--color", "always").stdout
    assert "\x1b" not in invoke("check", "x.py:f", "--color", "never").stdout


# params


def test_params_formats(looked: Looked) -> None:
    table = invoke("params", "x.py:f")
    assert table.exit_code == 0
    assert "h.{0..3}.attn.qkv.weight" in table.stdout and "to Muon" in table.stdout
    assert "h.3.attn.qkv.weight" in invoke("params", "x.py:f", "--flat").stdout
    full = invoke("params", "x.py:f", "--output-format", "full").stdout
    assert "conflict: structure says hidden-matrix" in full
    concise = invoke("params", "x.py:f", "--output-format", "concise").stdout
    assert "norm.weight: norm-gain, frozen\n" in concise


def test_why(looked: Looked) -> None:
    assert invoke("params", "x.py:f", "--why", "lm_head.weight").stdout.startswith("wte.weight\n  = lm_head.weight\n")
    made = json.loads(invoke("params", "x.py:f", "--why", "mix", "--output-format", "json").stdout)
    assert [p["name"] for p in made["targets"][0]["parameters"]] == ["mix"]
    wrong = invoke("params", "x.py:f", "--why", "mx")
    assert wrong.exit_code == 2 and wrong.stderr.endswith("did you mean 'mix'?\n")


# The pipeline between the worker and the reports


def facts(p: Parameter) -> Parameter:
    return Parameter(p.name, p.shape, p.dtype, p.trainable, p.sites)


def test_the_pipeline_judges_overrides_and_notes(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        inv = inventory()
        return Response(replace(inv, parameters=tuple(map(facts, inv.parameters))), notes=("from the worker",))

    monkeypatch.setattr("paramlint.model.process.run", answer)
    (here / "paramlint.toml").write_text('timeout = 3\nroles = { "mi*" = "router", "nothing.*" = "bias" }\n')
    result = invoke("params", "x.py:f", "--output-format", "json", "--allow-network")
    made = json.loads(result.stdout)["targets"][0]
    roles = {p["name"]: p["role"] for p in made["parameters"]}
    assert roles["mix"] == "router"
    assert asked[0].timeout == 3.0 and asked[0].allow_network and asked[0].target == "x.py:f"
    assert "note: from the worker" in result.stderr
    assert "'nothing.*' of the configuration matches no parameter" in result.stderr
    again = json.loads(invoke("check", "x.py:f", "--output-format", "json", "--optimizer", "sgd").stdout)["targets"][0]
    assert {p["updated_by"] for p in again["parameters"]} == {"adam", None}, "SGD has no Muon half"


# Reading commands


def test_explain_and_rules() -> None:
    assert invoke("explain", "pml201").stdout.startswith("# PML201 embedding-in-muon")
    assert invoke("explain", "embedding-in-muon").stdout == invoke("explain", "PML201").stdout
    page = json.loads(invoke("explain", "PML201", "--output-format", "json").stdout)
    assert page["code"] == "PML201" and page["page"].startswith("# PML201") and page["schema_version"] == 1
    listed = invoke("rules").stdout
    assert all(rule.code in listed and rule.name in listed for rule in RULES)
    assert len(json.loads(invoke("rules", "--output-format", "json").stdout)["rules"]) == len(RULES)


def test_optimizers_and_policies() -> None:
    assert "torch-muon" in invoke("optimizers").stdout
    one = invoke("optimizers", "muon").stdout
    assert one.startswith("torch-muon: ") and "https://" in one
    assert json.loads(invoke("optimizers", "muon", "--output-format", "json").stdout)["optimizers"][0]["name"] == (
        "torch-muon"
    )
    assert "moonlight" in invoke("policies").stdout
    policy = invoke("policies", "moonlight").stdout
    assert "hidden-matrix" in policy and "https://" in policy
    assert len(json.loads(invoke("policies", "--output-format", "json").stdout)["policies"]) > 5


def test_schema_is_printed_as_it_is() -> None:
    assert json.loads(invoke("schema").stdout) == json.loads(SCHEMA.read_text(encoding="utf-8"))


def test_every_command_is_there_and_says_what_it_runs() -> None:
    for name, short in COMMANDS.items():
        shown = invoke(name, "--help")
        assert shown.exit_code == 0
        runs_code = name in ("params", "check", "plan", "codegen", "smoke")
        assert ("Your code is imported and run" in " ".join(shown.stdout.split())) == runs_code
        assert short
