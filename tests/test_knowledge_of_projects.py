"""A folder of knowledge that a project lays over ours, and what a mistake in it is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from paramlint.errors import ParamlintError
from paramlint.knowledge import load

KNOWN = load()


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_a_project_lays_its_own_over_ours(tmp_path: Path) -> None:
    lint = write(
        tmp_path / "lint",
        {
            "roles.toml": """
                [codebook]
                meaning = "Rows picked by nearest neighbour."
                decay = "no"
                example = "vq.codebook [1024, 64]"
                source = ["us: https://example.org"]""",
            "policies/default.toml": """
                extends = "default"
                [roles.router]
                to = "muon"
                note = "we tried"
                [roles.codebook]
                to = "adam"
                strength = "C"
                source = ["us: https://example.org"]""",
            "policies/ours.toml": """
                name = "ours"
                summary = "What we do"
                source = ["us: https://example.org"]
                extends = "default"
                [roles.conv-filter]
                to = "either"
                plan = "adam"
                """,
            "optimizers/our-muon.toml": """
                inherits = "keller"
                title = "Our fork"
                classes = ["ours.Muon"]
                imports = ["ours.Muon"]
                aliases = ["fork"]
                ndim = { 3 = "flatten" }""",
            "optimizers/timm.toml": """
                inherits = "timm"
                [defaults]
                lr = 3e-4""",
        },
    )
    known = load([lint])
    assert set(known.roles) - set(KNOWN.roles) == {"codebook"}
    assert known.policy("default").rulings["router"].to == "muon"
    assert known.policy("default").rulings["embedding"] == KNOWN.policy("default").rulings["embedding"]
    assert known.policy("default").summary == KNOWN.policy("default").summary
    # a policy of ours that extends default extends theirs now
    assert known.policy("nanochat").rulings["router"].note == "we tried"
    ours = known.policy("ours").rulings
    assert (ours["conv-filter"].to, ours["conv-filter"].plan, ours["codebook"].plan) == ("either", "adam", "adam")
    fork = known.profile("fork")
    assert (fork.name, fork.ndim["3"], fork.ndim["4"], fork.keys) == (
        "our-muon",
        "flatten",
        "flatten",
        KNOWN.profile("keller").keys,
    )
    assert known.profile("timm").defaults == {**KNOWN.profile("timm").defaults, "lr": 3e-4}
    assert known.profile("timm").shape_rule == "timm"
    assert KNOWN.profile("timm").defaults["lr"] == 0.02


POLICY = 'summary = "x"\nsource = []\nextends = "default"\n'
PROFILE = 'title = "x"\ninherits = "keller"\n'

BROKEN: dict[str, tuple[str, str, str]] = {
    "not toml": ("policies/x.toml", "summary = x", "at line 1, column 11"),
    "unknown role": (
        "policies/x.toml",
        POLICY + '[roles.ruoter]\nto = "adam"',
        "roles.ruoter: no such role; did you mean 'router'?",
    ),
    "not a destination": (
        "policies/x.toml",
        POLICY + '[roles.router]\nto = "mu on"',
        "roles.router.to: 'mu on' is not one of muon, adam, either; did you mean 'muon'?",
    ),
    "unknown key of a ruling": (
        "policies/x.toml",
        POLICY + '[roles.router]\nto = "muon"\nnotes = "x"',
        "roles.router.notes: no such key; did you mean 'note'?",
    ),
    "plan against to": (
        "policies/x.toml",
        POLICY + '[roles.router]\nto = "muon"\nplan = "adam"',
        "roles.router.plan: 'adam' is not what `to` allows: muon",
    ),
    "either without a plan": (
        "policies/x.toml",
        POLICY + '[roles.embedding]\nto = "either"',
        "roles.embedding.plan: missing",
    ),
    "source that is no array": (
        "policies/x.toml",
        POLICY + '[roles.router]\nsource = "me"',
        "roles.router.source: 'me' is not an array",
    ),
    "source that is no string": (
        "policies/x.toml",
        POLICY + "[roles.router]\nsource = ['me', 3]",
        "roles.router.source[1]: 3 is not a string",
    ),
    "ruling that is no table": ("policies/x.toml", POLICY + "roles = { router = 1 }", "roles.router: 1 is not a table"),
    "roles that are no table": ("policies/x.toml", POLICY + "roles = []", "roles: an array is not a table"),
    "unknown key of a policy": (
        "policies/x.toml",
        POLICY + 'sumary = "x"',
        "sumary: no such key; did you mean 'summary'?",
    ),
    "policy without summary": ("policies/x.toml", 'source = []\nextends = "default"', "summary: missing"),
    "policy of another name": (
        "policies/x.toml",
        POLICY + 'name = "y"',
        "name: 'y' is in a file called x.toml",
    ),
    "rulings of a policy": ("policies/x.toml", POLICY + "rulings = {}", "rulings: no such key; did you mean 'roles'?"),
    "extends nothing": (
        "policies/x.toml",
        'summary = "x"\nsource = []\nextends = "defualt"',
        "extends: there is no 'defualt'; did you mean 'default'?",
    ),
    "extends a number": ("policies/x.toml", 'summary = "x"\nsource = []\nextends = 1', "extends: 1 is not a string"),
    "extends itself": (
        "policies/x.toml",
        'summary = "x"\nsource = []\nextends = "x"',
        "extends: 'x' is this very file, and no folder below has another",
    ),
    "policy that is not whole": (
        "policies/x.toml",
        'summary = "x"\nsource = []\n[roles.bias]\nto = "adam"\nstrength = "A"',
        "roles: no ruling for hidden-matrix, fused-matrix",
    ),
    "role without decay": (
        "roles.toml",
        '[token]\nmeaning = "x"\nexample = "x"\nsource = []',
        "token.decay: missing",
    ),
    "role with a wrong decay": (
        "roles.toml",
        '[token]\nmeaning = "x"\nexample = "x"\nsource = []\ndecay = true',
        "token.decay: true is not one of yes, no, policy",
    ),
    "role that is no table": ("roles.toml", "token = 3", "token: 3 is not a table"),
    "unknown key of a profile": (
        "optimizers/x.toml",
        PROFILE + 'call_shap = "elementwise"',
        "call_shap: no such key; did you mean 'call_shape'?",
    ),
    "profile without anything": ("optimizers/x.toml", 'title = "x"', "call_shape: missing"),
    "not a call shape": (
        "optimizers/x.toml",
        PROFILE + 'call_shape = "flagged"',
        "call_shape: 'flagged' is not one of",
    ),
    "not a boolean": (
        "optimizers/x.toml",
        PROFILE + 'process_group = "yes"',
        "process_group: 'yes' is not true or false",
    ),
    "not an action": (
        "optimizers/x.toml",
        PROFILE + '[ndim]\n3 = "flaten"',
        "ndim.3: 'flaten' is not one of accept, flatten, batch, error, adam; did you mean 'flatten'?",
    ),
    "not a number of dimensions": (
        "optimizers/x.toml",
        PROFILE + '[ndim]\n7 = "error"',
        "ndim.7: not one of 1, 2, 3, 4, 5",
    ),
    "unknown key of keys": (
        "optimizers/x.toml",
        PROFILE + "[keys]\nignore = []",
        "keys.ignore: no such key; did you mean 'ignored'?",
    ),
    "keys without strictness": (
        "optimizers/x.toml",
        'title = "x"\ncall_shape = "elementwise"\nclasses = []\nimports = []\nevidence = "read"\nsource = []\n[keys]',
        "keys.strictness: missing",
    ),
    "a date among defaults": (
        "optimizers/x.toml",
        PROFILE + "[defaults]\nlr = [2025-01-01]",
        "defaults.lr[0]: 2025-01-01 is a date or a time",
    ),
    "inherits nothing": (
        "optimizers/x.toml",
        'inherits = "kellar"',
        "inherits: there is no 'kellar'; did you mean 'keller'?",
    ),
    "alias of another": (
        "optimizers/x.toml",
        PROFILE + 'aliases = ["muon"]',
        "aliases: 'muon' already means torch-muon",
    ),
    "alias that is a name": ("optimizers/x.toml", PROFILE + 'aliases = ["timm"]', "aliases: 'timm' already means timm"),
    "flags without a key": (
        "optimizers/x.toml",
        'inherits = "torch-muon"\ncall_shape = "flagged-groups"',
        "flag_key: missing, and call_shape is flagged-groups",
    ),
    "shape without a rule": (
        "optimizers/x.toml",
        'inherits = "torch-muon"\nunflagged = "shape"',
        "shape_rule: missing, and unflagged is shape",
    ),
}


@pytest.mark.parametrize(("file", "text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_mistake_names_file_and_key(
    file: str, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "lint", {file: text})
    with pytest.raises(ParamlintError) as caught:
        load([Path("lint")])
    assert caught.value.where == f"lint/{file}"
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "key", "rest"), [("policies", "extends", POLICY), ("optimizers", "inherits", PROFILE)]
)
def test_circles_are_found(kind: str, key: str, rest: str, tmp_path: Path) -> None:
    body = "\n".join(line for line in rest.splitlines() if not line.startswith(key))
    files = {f"{kind}/{a}.toml": f'{key} = "{b}"\n{body}' for a, b in (("a", "b"), ("b", "c"), ("c", "a"))}
    with pytest.raises(ParamlintError, match=f"{key}: goes in a circle: a -> b -> c -> a"):
        load([write(tmp_path, files)])


def test_a_folder_that_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(ParamlintError, match="no such folder of knowledge"):
        load([tmp_path / "nowhere"])
    with pytest.raises(ParamlintError, match="nothing to read here"):
        load([tmp_path])


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ParamlintError) as caught:
        load([tmp_path])
    assert caught.value.where.endswith("policies/x.toml")
