"""What a wheel holds, and that a checkout's pins are complete."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from paramlint import __version__
from paramlint.registry import RULES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys, hatchling.build; hatchling.build.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_is_pure_and_named_after_the_version(wheel: Path) -> None:
    assert wheel.name == f"paramlint-{__version__}-py3-none-any.whl"


def test_wheel_holds_a_page_for_each_rule(members: set[str]) -> None:
    pages = {m.group(1) for name in members if (m := re.fullmatch(r"paramlint/rules/(PML\d+)\.md", name))}
    assert pages == {r.code for r in RULES}


def test_wheel_holds_the_knowledge(members: set[str]) -> None:
    def shipped(pattern: str) -> set[str]:
        return {f"paramlint/{p.relative_to(REPOSITORY).as_posix()}" for p in REPOSITORY.glob(pattern)}

    policies, profiles = shipped("rules/policies/*.toml"), shipped("rules/optimizers/*.toml")
    assert "paramlint/rules/policies/default.toml" in policies
    assert "paramlint/rules/optimizers/torch-muon.toml" in profiles
    assert policies | profiles | {"paramlint/rules/roles.toml"} <= members


def test_wheel_holds_the_package_and_nothing_of_the_checkout(members: set[str]) -> None:
    info = f"paramlint-{__version__}.dist-info"
    assert {name.split("/")[0] for name in members} == {"paramlint", info}
    modules = {p.relative_to(REPOSITORY).as_posix() for p in (REPOSITORY / "paramlint").rglob("*.py")}
    assert modules | {"paramlint/py.typed"} <= members
    assert {f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"} <= members
    # pip compiles every module that it installs: rule pages are text, so none may end in .py.
    assert not [name for name in members if name.startswith("paramlint/rules/") and name.endswith(".py")]


def test_package_finds_its_rules_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from paramlint import knowledge, registry\n"
        "print(registry.rules_dir(), len(registry.page('PML201')) > 0, sorted(knowledge.load().profiles)[0])\n"
        "print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{tmp_path / 'paramlint' / 'rules'} True adam", "[]"]


def pins() -> Iterator[Requirement]:
    for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield Requirement(line)


def test_constraints_pin_names_and_nothing_else() -> None:
    for pin in pins():
        assert pin.url is None and not pin.extras
        assert re.fullmatch(r"==\d[\w.]*", str(pin.specifier)), pin


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_pin_what_the_project_asks_for(python: str) -> None:
    def applies(requirement: Requirement) -> bool:
        return requirement.marker is None or requirement.marker.evaluate({"python_version": python})

    pinned = [canonicalize_name(p.name) for p in pins() if applies(p)]
    assert len(pinned) == len(set(pinned))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    for requirement in map(Requirement, [*asked, "editables", "timm", "torchvision", "pillow"]):
        if applies(requirement):
            assert canonicalize_name(requirement.name) in pinned, requirement
