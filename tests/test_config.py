"""Configuration files: where they are found, what they may say, and what a mistake in one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from paramlint.config import Config, load, size
from paramlint.errors import ParamlintError
from paramlint.registry import RULES
from paramlint.selection import Selection, codes


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str, name: str = "pyproject.toml", folder: Path | None = None) -> Config:
    place = (folder or Path.cwd()) / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return load()


def error(text: str, name: str = "pyproject.toml") -> str:
    with pytest.raises(ParamlintError) as caught:
        written(text, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Where


def test_nothing_found_is_an_empty_configuration() -> None:
    assert load() == Config()


def test_the_nearest_file_with_settings_counts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "pyproject.toml").write_text('[tool.paramlint]\npolicy = "moonlight"\n')
    inner = here / "a" / "b"
    inner.mkdir(parents=True)
    (here / "a" / "pyproject.toml").write_text("[tool.ruff]\n")
    monkeypatch.chdir(inner)
    assert load().settings.policy == "moonlight"
    (here / "a" / "pyproject.toml").write_text('[tool.paramlint]\npolicy = "keller"\n')
    assert load().settings.policy == "keller"


def test_paramlint_toml_wins_in_one_folder(here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.paramlint]\npolicy = "moonlight"\n')
    (here / "paramlint.toml").write_text('policy = "keller"\n')
    assert load().settings.policy == "keller"
    assert load(here / "pyproject.toml").settings.policy == "moonlight"


def test_paths_are_relative_to_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "paramlint.toml").write_text(
        'optimizer = "opt/make.py:both"\n[targets.gpt]\ntarget = "model.py:build"\ngroups = ":split"\n'
        '[targets.pkg]\ntarget = "pkg.model:build"\n[targets.type]\ntarget = "hf:llama"\n'
        '[targets.folder]\ntarget = "hf:configs/tiny:LlamaModel"\n'
    )
    (here / "configs" / "tiny").mkdir(parents=True)
    inner = here / "scripts"
    inner.mkdir()
    monkeypatch.chdir(inner)
    config = load()
    assert config.targets["gpt"].target == str(Path("../model.py")) + ":build"
    assert config.targets["gpt"].settings.objects == (":split",)
    assert config.settings.objects == (str(Path("../opt/make.py")) + ":both",)
    assert config.targets["pkg"].target == "pkg.model:build"
    assert config.targets["type"].target == "hf:llama"
    assert config.targets["folder"].target == f"hf:{Path('../configs/tiny')}:LlamaModel"


# What


FULL = """
[tool.paramlint]
optimizer = "keller"
policy = "moonlight"
select = ["PML1", "PML2"]
ignore = ["PML213"]
extend-select = ["PML213"]
fail-on = "warning"
timeout = 30
memory-limit = "4GB"
roles = { "*.gate" = "router" }

[tool.paramlint.targets.gpt]
target = "train.py:build"
kwargs = { n_layer = 2 }
groups = "train.py:groups"
optimizer = ["muon", ":adam"]
ignore = ["PML101"]
timeout = 2.5
"""


def test_every_key_is_read() -> None:
    config = written(FULL)
    project, target = config.settings, config.targets["gpt"]
    assert project.profile == "keller" and project.objects == ()
    assert config.fail_on == "warning"
    assert project.timeout == 30.0 and project.memory_limit == 4_000_000_000
    assert project.roles == {"*.gate": "router"}
    assert target.kwargs == {"n_layer": 2}
    assert target.settings.objects == ("train.py:groups", ":adam")
    assert target.settings.profile == "torch-muon", "an alias becomes the profile's name"
    assert target.settings.timeout == 2.5
    assert config.target("gpt") is target
    assert config.target("./train.py:build") is target
    assert config.target("other.py:build") is None


def test_own_knowledge_is_known_in_the_same_file(here: Path) -> None:
    (here / "lint" / "policies").mkdir(parents=True)
    (here / "lint" / "policies" / "ours.toml").write_text('extends = "default"\nsummary = "ours"\nsource = ["us"]\n')
    config = written('[tool.paramlint]\nknowledge = ["lint"]\npolicy = "ours"\n')
    assert config.settings.policy == "ours"
    assert config.knowledge == ((here / "lint").resolve(),)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("optimiser = 'keller'", "pyproject.toml [tool.paramlint]: unknown key 'optimiser'; did you mean 'optimizer'?"),
        ("extend_select = ['PML1']", "did you mean 'extend-select'?"),
        ("timeout = 'long'", "'timeout' must be a number, not a string"),
        ("timeout = true", "'timeout' must be a number, not a boolean"),
        ("timeout = 0", "must be more than 0"),
        ("memory-limit = 'much'", "'memory-limit': 'much' is not a size such as 8GB"),
        ("select = 'PML1'", "'select' must be a list of strings, not a string"),
        ("select = ['PML1', 2]", "not a list with a number in it"),
        ("select = ['PLM201']", "no rule matches 'PLM201'; did you mean 'PML201'?"),
        ("fail-on = 'warnings'", "did you mean 'warning'?"),
        ("policy = 'moonlite'", "[tool.paramlint]: no policy 'moonlite'; did you mean 'moonlight'?"),
        ("optimizer = 'torch-moun'", "[tool.paramlint]: no optimizer 'torch-moun'; did you mean"),
        ("optimizer = ['keller', 'dion']", "names two profiles, keller and dion"),
        ("roles = { a = 'routr' }", "[tool.paramlint.roles]: no role 'routr'; did you mean 'router'?"),
        ("roles = { a = 1 }", "[tool.paramlint.roles]: 'a' must be a string, not a number"),
        ("knowledge = ['nowhere']", "'knowledge': no folder nowhere"),
        ("targets = 3", "'targets' must be a table, not a number"),
        ("targets.gpt = 'x.py:f'", "[tool.paramlint.targets]: 'gpt' must be a table, not a string"),
        ("targets.gpt = {}", "[tool.paramlint.targets.gpt]: 'target' is missing"),
        (
            "targets.gpt = { target = 'x.py:f', optimiser = 'keller' }",
            "pyproject.toml [tool.paramlint.targets.gpt]: unknown key 'optimiser'; did you mean 'optimizer'?",
        ),
        ("targets.gpt = { target = 'x.py:f', kwargs = { d = 2020-01-01 } }", "'d' must be a string, number"),
    ],
)
def test_mistakes_say_where_and_what(body: str, said: str) -> None:
    assert said in error(f"[tool.paramlint]\n{body}\n")


def test_paramlint_toml_has_no_prefix() -> None:
    assert error("[targets.gpt]\ntargt = 'x'\n", "paramlint.toml").startswith("paramlint.toml [targets.gpt]: unknown")
    assert error("polcy = 'keller'\n", "paramlint.toml").startswith("paramlint.toml: unknown key 'polcy'")


def test_the_prefix_in_paramlint_toml_is_named_as_the_mistake() -> None:
    said = error('[tool.paramlint]\npolicy = "keller"', "paramlint.toml")
    assert "[tool.paramlint] is for pyproject.toml; leave the prefix 'tool.paramlint' out here" in said


@pytest.mark.parametrize("text", ["", "x.py", "a.b.c", "two words:f"])
def test_a_target_that_names_nothing_is_said_where_it_stands(text: str) -> None:
    said = error(f'[tool.paramlint.targets.net]\ntarget = "{text}"')
    assert said.startswith(f"pyproject.toml [tool.paramlint.targets.net]: 'target': {text!r} ")


def test_not_a_number_of_seconds() -> None:
    assert "'timeout' must be more than 0 seconds" in error("[tool.paramlint]\ntimeout = nan")


def test_an_empty_selector() -> None:
    assert "an empty text selects no rule" in error('[tool.paramlint]\nignore = [""]')


@pytest.mark.parametrize("text", ["0", "0.0GB", "0.0001k", "", "GB", "-1GB", "nan"])
def test_texts_that_are_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 8GB"):
        size(text)


def test_a_file_that_is_not_toml() -> None:
    assert "line 1" in error("[tool.paramlint\n")


@pytest.mark.parametrize(
    ("text", "count"), [("4GB", 4 * 10**9), ("512 MiB", 512 * 2**20), ("1.5g", 1_500_000_000), ("1000", 1000)]
)
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


# Which rules speak


def on(*layers: Selection) -> set[str]:
    return set(codes(layers))


EVERY = {r.code for r in RULES if r.on}
ONE, TWO = ({code for code in EVERY if code.startswith(start)} for start in ("PML1", "PML2"))


def test_all_rules_are_on_unless_something_is_said() -> None:
    assert on() == on(Selection()) == EVERY


def test_the_longest_selector_wins_and_ignore_wins_ties() -> None:
    assert on(Selection(("PML2",), ignore=("PML21",))) == {c for c in TWO if not c.startswith("PML21")}
    assert "PML213" in on(Selection(("PML2", "PML213"), ignore=("PML21",)))
    assert "PML213" not in on(Selection(("PML213",), ignore=("PML213",)))
    assert on(Selection(ignore=("ALL",), extend=("PML101",))) == {"PML101"}


def test_names_select_too() -> None:
    assert on(Selection(("embedding-in-muon",))) == {"PML201"}


def test_later_layers_start_afresh_or_add() -> None:
    project = Selection(("PML1",), ignore=("PML104",))
    assert on(project, Selection(("PML2",))) == TWO
    assert on(project, Selection(extend=("PML201",))) == (ONE - {"PML104"}) | {"PML201"}
    assert on(project, Selection(extend=("PML104",))) == ONE
    assert "PML101" not in on(project, Selection(ignore=("PML101",)))
