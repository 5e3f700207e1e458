"""`paramlint check` on source files: exit codes, streams, selection, mending, and the models scripts are tied to."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from lint_rules import flags
from sample_runs import run

from paramlint.cli.main import cli
from paramlint.errors import ParamlintError
from paramlint.pipeline import Job
from paramlint.report.json import SCHEMA, document
from paramlint.run import Run

SCRIPT = 'import torch.optim\n\nflag("PML610")\nflag("PML605")\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("paramlint.linting.RULE_SETS", (flags,))
    return tmp_path


def invoke(*arguments: str, data: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, ["check", *arguments], input=data)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def write(path: str, text: str = SCRIPT) -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode())
    return place


# Exit codes and streams


def test_findings_are_one_and_on_stdout(here: Path) -> None:
    write("train.py")
    write("src/clean.py", "import torch.optim\n")
    result = invoke("train.py", "src")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout == (
        "train.py:3:1: PML610 flagged as no-super-init\n"
        '   | flag("PML610")\n'
        "   | ^^^^^^^^^^^^^^ error\n"
        "  help: do not flag it\n"
        "\n"
        "train.py:4:1: PML605 flagged as no-no-grad\n"
        '   | flag("PML605")\n'
        "   | ^^^^^^^^^^^^^^ warning\n"
        "  help: do not flag it\n"
        "\n"
        "Found 1 error, 1 warning in 1 of 2 files\n"
        "`paramlint explain PML610` says more.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 1),
        (["--fail-on", "warning"], 1),
        (["--ignore", "PML610"], 0),
        (["--ignore", "PML610", "--fail-on", "warning"], 1),
        (["--select", "PML5"], 0),
        (["--select", "PML6"], 1),
        (["--exit-zero"], 0),
        (["none.py"], 2),
        (["none.py", "--exit-zero"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    write("train.py")
    assert invoke("train.py", *arguments).exit_code == code


@pytest.mark.parametrize("arguments", [["--force-exclude"], ["--no-build"], ["--fix", "--force-exclude"]])
def test_a_hook_without_files_has_nothing_to_do(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train.py", "--groups", ":split"], "--groups is for models, and train.py is source"),
        (["train.py", "--optimizer", "keller"], "--optimizer is for models"),
        (["train.py:build", "--diff"], "--diff is for source files"),
        (["train.py", "--select", "PML9"], "no rule matches 'PML9'"),
        (["train.py", "--inventory", "none.json"], "none.json"),
        ([], "Missing argument 'TARGET'"),
    ],
)
def test_wrong_usage_is_two(arguments: list[str], said: str) -> None:
    write("train.py")
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_rules_that_are_usually_off_speak_where_they_are_selected() -> None:
    write("train.py", 'flag("PML612")  # torch.optim')
    assert "PML612" not in invoke("train.py").stdout
    assert "PML612" not in invoke("train.py", "--ignore", "PML610").stdout
    for arguments in (["--select", "PML612"], ["--extend-select", "PML612"], ["--select", "ALL"]):
        assert "PML612" in invoke("train.py", *arguments).stdout


def test_order_is_that_of_the_files_and_the_source() -> None:
    write("b.py", 'optim.x; flag("PML605"); flag("PML610")\nflag("PML601")')
    write("a.py", 'flag("PML603")  # torch.optim')
    lines = invoke(".", "--output-format", "concise", "-q").stdout.splitlines()
    assert [line.split(" flagged")[0] for line in lines] == [
        "a.py:1:1: PML603",
        "b.py:1:10: PML605",
        "b.py:1:26: PML610",
        "b.py:2:1: PML601",
    ]


def test_columns_are_characters_and_long_calls_are_shown_by_their_first_line() -> None:
    write("train.py", 'import torch.optim\nx = "ééé", flag(\n    "PML610",\n)\n')
    out = invoke("train.py").stdout.splitlines()
    assert out[:3] == [
        "train.py:2:12: PML610 flagged as no-super-init",
        '   | x = "ééé", flag(',
        "   |            ^^^^^ error",
    ]


def test_statistics_count_files_and_models() -> None:
    write("train.py")
    assert invoke("train.py", "--statistics", "-q").stdout == (
        "1  PML605  warning  no-no-grad\n1  PML610  error    no-super-init\n"
    )


# Configuration


def test_rules_are_silent_in_some_files() -> None:
    write(
        "pyproject.toml",
        '[tool.paramlint.per-file-ignores]\n"tests/*" = ["PML6"]\n"train.py" = "no-super-init"\n',
    )
    for path in ("train.py", "src/train.py", "tests/test_a.py", "eval.py"):
        write(path)
    lines = invoke(".", "--output-format", "concise", "-q").stdout.splitlines()
    assert [line.split(" flagged")[0] for line in lines] == [
        "eval.py:3:1: PML610",
        "eval.py:4:1: PML605",
        "src/train.py:4:1: PML605",
        "train.py:4:1: PML605",
    ]


def test_rules_are_silent_for_some_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    write("pyproject.toml", '[tool.paramlint]\nignore-parameters = { "*.bias" = ["PML204"], "wte.*" = "PML2" }')
    write("train.py", 'flag("PML204", "a.bias", "b")  # torch.optim\nflag("PML201", "wte.weight")\nflag("PML610")\n')
    write("paramlint_unused.txt")
    report = json.loads(invoke("train.py", "--output-format", "json").stdout)
    found = [(d["code"], d["parameters"]) for d in report["files"][0]["diagnostics"]]
    assert found == [("PML204", ["b"]), ("PML610", [])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tool.paramlint.per-file-ignores]\n"a.py" = ["PML9"]', "no rule matches 'PML9'"),
        ('[tool.paramlint.per-file-ignores]\n"a.py" = 3', "'a.py' must be a string or a list of strings"),
        ('[tool.paramlint.ignore-parameters]\n"*.b" = [""]', "an empty text selects no rule"),
        ('[tool.paramlint]\nmax-file-size = "huge"', "'max-file-size': 'huge' is not a size such as 8GB"),
        ("[tool.paramlint]\nexcludes = []", "unknown key 'excludes'; did you mean 'exclude'?"),
        ('[tool.paramlint.targets.a]\ntarget = "m:f"\nscript = "a.py"', "did you mean 'scripts'?"),
    ],
)
def test_mistakes_in_the_configuration_are_told(text: str, said: str) -> None:
    write("pyproject.toml", text)
    result = invoke(".")
    assert result.exit_code == 2 and said in result.stderr


def test_a_project_file_that_does_not_speak_of_us_is_not_read() -> None:
    write("pyproject.toml", "[tool.ruff\n")
    write("train.py")
    assert invoke("train.py").exit_code == 1


# Standard input


def test_standard_input() -> None:
    result = invoke("-", data=SCRIPT)
    assert result.exit_code == 1
    assert result.stdout.startswith("-:3:1: PML610")
    assert invoke("-", "--stdin-filename", "src/train.py", data=SCRIPT).stdout.startswith("src/train.py:3:1: PML610")
    assert invoke("-", data=b"\xff\xfe").stdout.startswith("-:1:1: PML001")
    assert invoke("-", data="").exit_code == 0


def test_standard_input_is_left_out_by_its_name() -> None:
    write("pyproject.toml", '[tool.paramlint]\nexclude = ["gen"]\n[tool.paramlint.per-file-ignores]\n"b.py" = "PML6"')
    assert invoke("-", "--stdin-filename", "gen/a.py", "--force-exclude", data=SCRIPT).exit_code == 0
    assert invoke("-", "--stdin-filename", "gen/a.py", data=SCRIPT).exit_code == 1
    assert invoke("-", "--stdin-filename", "b.py", data=SCRIPT).exit_code == 0


def test_standard_input_is_mended_to_standard_output() -> None:
    result = invoke("-", "--fix", data='x = torch.optim\nfixable("PML610")\nflag("PML605")\n')
    assert result.stdout == 'x = torch.optim\ndone("PML610")\nflag("PML605")\n'
    assert "-:3:1: PML605" in result.stderr
    untouched = invoke("-", "--fix", data=SCRIPT)
    assert untouched.stdout == SCRIPT and untouched.exit_code == 1


# Mending


FIXABLE = 'import torch.optim\n\nfixable("PML610")\nfixable("PML501", unsafe=True)\nflag("PML605")\n'


def test_what_can_be_mended_is_marked_and_counted() -> None:
    write("train.py", FIXABLE)
    out = invoke("train.py", "--output-format", "concise").stdout.splitlines()
    assert out == [
        "train.py:3:1: PML610 [*] flagged as no-super-init",
        "train.py:4:1: PML501 flagged as partition-hole",
        "train.py:5:1: PML605 flagged as no-no-grad",
        "Found 2 errors, 1 warning in 1 file (1 fixable with --fix, 1 more with --unsafe-fixes)",
    ]


def test_fix_mends_what_is_safe() -> None:
    path = write("train.py", FIXABLE)
    result = invoke("train.py", "--fix", "--output-format", "concise")
    assert path.read_text() == FIXABLE.replace('fixable("PML610")', 'done("PML610")')
    assert result.stdout.splitlines()[-1] == "Found 2 errors, 1 warning in 1 file (1 fixed, 2 remaining)"
    assert result.exit_code == 1


def test_unsafe_fixes_are_asked_for() -> None:
    path = write("train.py", FIXABLE)
    result = invoke("train.py", "--fix", "--unsafe-fixes", "--ignore", "PML605")
    assert path.read_text() == FIXABLE.replace("fixable", "done")
    assert (result.exit_code, result.stdout) == (0, "Found 2 errors in 1 file (2 fixed, 0 remaining)\n")


def test_diff_shows_and_changes_nothing() -> None:
    path = write("train.py", FIXABLE)
    result = invoke("train.py", "--diff")
    assert result.exit_code == 1
    assert result.stdout == (
        "--- train.py\n+++ train.py\n@@ -1,5 +1,5 @@\n import torch.optim\n \n"
        '-fixable("PML610")\n+done("PML610")\n fixable("PML501", unsafe=True)\n flag("PML605")\n'
    )
    assert result.stderr == "note: would fix 1 finding in 1 file\n"
    assert path.read_text() == FIXABLE
    write("a script.py", FIXABLE)
    assert invoke("a script.py", "--diff").stdout.startswith("--- a script.py\t\n+++ a script.py\t\n"), "for patch"
    write("train.py", SCRIPT)
    result = invoke("train.py", "--diff")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="file modes of POSIX")
def test_a_mended_file_keeps_its_encoding_line_ends_and_mode() -> None:
    path = Path("train.py")
    text = "# coding: latin-1\r\nimport torch.optim\r\nx = 'é'\r\nfixable('PML610')\r\n"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o750)
    assert invoke("train.py", "--fix").exit_code == 0
    assert path.read_bytes() == text.replace("fixable", "done").encode("latin-1")
    assert path.stat().st_mode & 0o777 == 0o750
    path.write_bytes(b"\xef\xbb\xbfimport torch.optim\nfixable('PML610')")
    assert invoke("train.py", "--fix").exit_code == 0
    assert path.read_bytes() == b"\xef\xbb\xbfimport torch.optim\ndone('PML610')"


def test_what_is_silenced_is_not_mended_and_idle_comments_go() -> None:
    text = 'fixable("PML610")  # paramlint: ignore[PML610]\nx = 1  # paramlint: ignore[PML610]\n'
    path = write("train.py", text)
    result = invoke("train.py", "--fix")
    assert path.read_text() == 'fixable("PML610")  # paramlint: ignore[PML610]\nx = 1\n'
    assert (result.exit_code, result.stdout) == (0, "Found 1 warning in 1 file (1 fixed, 0 remaining)\n")


def test_mending_ends_where_a_fix_makes_its_own_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    import paramlint.rewrite

    rounds = []

    def endless(text: str, fixes: list[object]) -> object:
        rounds.append(text)
        return paramlint.rewrite.Applied(text + "#", tuple(fixes), ())  # type: ignore[arg-type]

    monkeypatch.setattr(paramlint.rewrite, "apply", endless)
    path = write("train.py", FIXABLE)
    assert invoke("train.py", "--fix").exit_code == 1
    assert len(rounds) == 10 and path.read_text() == FIXABLE + "#" * 10


def test_a_file_that_cannot_be_written_is_two(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    write("a.py", FIXABLE)
    write("b.py")
    result = invoke("a.py", "b.py", "--fix")
    assert result.exit_code == 2
    assert result.stderr == "error: a.py: No space left on device\n"
    assert "b.py:3:1: PML610" in result.stdout
    assert sorted(os.listdir()) == ["a.py", "b.py"]


# Formats


def test_json_is_as_its_schema_says() -> None:
    schema = json.loads(SCHEMA.read_text())
    write("src/train.py", FIXABLE)
    result = invoke("src/train.py", "none.py", "--output-format", "json")
    made = json.loads(result.stdout)
    jsonschema.validate(made, schema)
    assert made["summary"] == {
        "targets": 0,
        "failed": 1,
        "errors": 2,
        "warnings": 1,
        "notes": 0,
        "files": 1,
        "fixed": 0,
    }
    (file,) = made["files"]
    assert file["path"] == "src/train.py"
    first = file["diagnostics"][0]
    assert first["location"] == {"path": "src/train.py", "line": 3, "column": 1, "label": ""}
    assert first["end"] == {"line": 3, "column": 18}
    assert first["fix"] == {
        "title": "Call done",
        "safe": True,
        "start": {"line": 3, "column": 1},
        "end": {"line": 3, "column": 8},
    }
    assert file["diagnostics"][2]["fix"] is None
    assert made["failures"][0]["target"] == "none.py"
    fixed = json.loads(invoke("src/train.py", "--fix", "--output-format", "json").stdout)
    jsonschema.validate(fixed, schema)
    assert fixed["files"][0]["fixed"] == ["PML610"] and fixed["summary"]["fixed"] == 1


def test_every_key_that_is_written_for_files_is_in_the_schema() -> None:
    def strict(node: object) -> object:
        if isinstance(node, dict):
            closed = {"additionalProperties": False} if "properties" in node else {}
            return {**{k: strict(v) for k, v in node.items()}, **closed}
        return [strict(v) for v in node] if isinstance(node, list) else node

    write("train.py", FIXABLE)
    made = json.loads(invoke("train.py", "--fix", "--output-format", "json").stdout)
    jsonschema.validate(made, strict(json.loads(SCHEMA.read_text())))


def test_github_commands_have_the_gravest_first_and_are_escaped() -> None:
    write("a,b:c%.py", 'import torch.optim\nflag("PML605")\nflag("PML610")\nflag(\n    "PML613"\n)\n')
    assert invoke("a,b:c%.py", "--output-format", "github").stdout.splitlines() == [
        "::error title=paramlint PML610 (no-super-init),file=a%2Cb%3Ac%25.py,line=3,col=1,endLine=3,endColumn=14"
        "::flagged as no-super-init. Do not flag it",
        "::warning title=paramlint PML605 (no-no-grad),file=a%2Cb%3Ac%25.py,line=2,col=1,endLine=2,endColumn=14"
        "::flagged as no-no-grad. Do not flag it",
        "::notice title=paramlint PML613 (grad-mutated),file=a%2Cb%3Ac%25.py,line=4,endLine=6"
        "::flagged as grad-mutated. Do not flag it",
        "Found 1 error, 1 warning, 1 note in 1 file",
    ]


def test_gitlab_report() -> None:
    write("src/train.py", SCRIPT + 'flag("PML610")\n')
    made = json.loads(invoke("src", "--output-format", "gitlab").stdout)
    assert [(i["check_name"], i["severity"]) for i in made] == [
        ("PML610", "major"),
        ("PML605", "minor"),
        ("PML610", "major"),
    ]
    assert made[0]["description"] == "flagged as no-super-init"
    assert made[0]["location"] == {
        "path": "src/train.py",
        "positions": {"begin": {"line": 3, "column": 1}, "end": {"line": 3, "column": 15}},
    }
    before = [i["fingerprint"] for i in made]
    assert len(set(before)) == 3
    write("src/train.py", "# lines above change nothing\n" + SCRIPT + 'flag("PML610")\n')
    assert [i["fingerprint"] for i in json.loads(invoke("src", "--output-format", "gitlab").stdout)] == before
    assert invoke("src", "--output-format", "gitlab", "--select", "PML5").stdout == "[]\n"


@pytest.mark.parametrize("format", ["full", "concise", "json", "sarif", "github", "gitlab"])
def test_output_file_takes_every_format(format: str) -> None:
    write("train.py")
    to_stdout = invoke("train.py", "--output-format", format)
    result = invoke("train.py", "--output-format", format, "-o", "out.txt")
    assert (result.stdout, result.exit_code) == ("", 1)
    assert Path("out.txt").read_text() == to_stdout.stdout != ""


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are no text")
def test_a_name_that_is_no_text_is_told_in_sarif() -> None:
    name = os.fsdecode(b"bad\xff.py")
    write(name)
    made = json.loads(invoke(name, "--output-format", "sarif").stdout)
    places = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in made["runs"][0]["results"]]
    assert set(places) == {"bad%FF.py"}


# Models


class Built:
    """Stands in for the pipeline: keeps the jobs, gives one model for each."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.error: ParamlintError | None = None

    def __call__(self, job: Job, *, checks: bool = True) -> Run:
        self.jobs.append(job)
        if self.error is not None:
            raise self.error
        return run()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    fake = Built()
    monkeypatch.setattr("paramlint.pipeline.analyse", fake)
    return fake


@pytest.mark.parametrize(
    ("comment", "target"),
    [
        ("# paramlint: target=pkg.model:build", "pkg.model:build"),
        ("#paramlint:target = model.py:build  as in the paper", "src/model.py:build"),
        ("# paramlint: target=elsewhere.py:build", "elsewhere.py:build"),
        ("# paramlint: target=gpt", "gpt"),
    ],
)
def test_a_comment_ties_a_script_to_a_model(comment: str, target: str, built: Built) -> None:
    write("pyproject.toml", '[tool.paramlint.targets.gpt]\ntarget = "configured:build"\nkwargs = { n = 2 }')
    write("src/model.py", "")
    write("src/train.py", f'{comment}\nflag("PML610")\n')
    result = invoke("src/train.py")
    assert "PML610 flagged for model.GPT" in result.stdout
    (job,) = built.jobs
    assert job.target == ("configured:build" if target == "gpt" else target)
    assert job.kwargs == ({"n": 2} if target == "gpt" else {})


def test_the_configuration_ties_scripts_to_a_model_that_is_built_once(built: Built) -> None:
    write("pyproject.toml", '[tool.paramlint.targets.gpt]\ntarget = "m:f"\nscripts = ["train*.py"]')
    for name in ("train.py", "src/train_large.py", "eval.py"):
        write(name)
    out = invoke(".").stdout
    assert len(built.jobs) == 1
    assert out.count("flagged for model.GPT") == 4 and out.count("flagged as") == 2


@pytest.mark.parametrize("text", ['x = "# paramlint: target=a:b"', "x = 1  # paramlint: target=a:b"])
def test_only_a_comment_on_a_line_of_its_own_ties(text: str, built: Built) -> None:
    write("train.py", f"{text}\n{SCRIPT}")
    assert "flagged as" in invoke("train.py").stdout
    assert built.jobs == []


def test_without_the_model_the_other_rules_speak(built: Built) -> None:
    write("train.py", f"# paramlint: target=pkg.model:build\n{SCRIPT}")
    assert "flagged as" in invoke("train.py", "--no-build").stdout
    assert built.jobs == []
    built.error = ParamlintError("no module named 'pkg'", where="pkg.model:build")
    result = invoke("train.py")
    assert result.exit_code == 1 and "flagged as" in result.stdout
    assert result.stderr == (
        "note: train.py: only the rules that need no model speak, since pkg.model:build cannot be built: "
        "pkg.model:build: no module named 'pkg'\n"
    )


def test_a_comment_may_be_for_the_model_that_is_not_built(built: Built) -> None:
    text = "# paramlint: target=pkg.model:build\nx = 1  # paramlint: ignore[PML517]\ny = 1  # paramlint: ignore\n"
    write("train.py", text)
    assert "PML002" not in invoke("train.py", "--no-build").stdout
    assert invoke("train.py").stdout.count("PML002 [*]") == 2


def test_files_and_models_go_together(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramlint.cli.jobs.analyse", built)
    write("train.py")
    result = invoke("train.py", "train.py:build", "--output-format", "concise")
    assert result.stdout.splitlines()[-1] == "Found 1 error, 1 warning in 37 parameters (14.2M) and 1 file"
    report = json.loads(invoke("train.py", "m:f", "--output-format", "json").stdout)
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    assert (report["summary"]["targets"], report["summary"]["files"]) == (1, 1)


def test_an_inventory_on_disk_stands_for_the_model() -> None:
    write("train.py")
    write("gpt.json", document([run()]))
    assert invoke("train.py", "--inventory", "gpt.json").stdout.count("flagged for model.GPT") == 2
