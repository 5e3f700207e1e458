"""SARIF: the parts of the 2.1.0 schema that we write, and what GitHub code scanning asks for besides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from lint_rules import flags
from sample_runs import finding, run

from paramlint.cli.main import cli
from paramlint.errors import ParamlintError
from paramlint.parameter import Location
from paramlint.report import sarif
from paramlint.run import Run

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
PLACE = {
    "type": "object",
    "required": ["uri"],
    "additionalProperties": False,
    "properties": {
        "uri": {"type": "string", "pattern": r"^(?!/)[\w%:./~+-]+$"},
        "uriBaseId": {"const": "%SRCROOT%"},
    },
}
CONTENT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
NUMBER = {"type": "integer", "minimum": 1}
REGION = {
    "type": "object",
    "required": ["startLine", "startColumn"],
    "additionalProperties": False,
    "properties": dict.fromkeys(("startLine", "startColumn", "endLine", "endColumn"), NUMBER),
}
LEVEL = {"enum": ["error", "warning", "note"]}
RULE = {
    "type": "object",
    "required": ["id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration", "properties"],
    "additionalProperties": False,
    "properties": {
        "id": {"pattern": r"^PML\d{3}$"},
        "name": {"pattern": r"^[A-Za-z0-9]+$"},
        "shortDescription": {**TEXT, "maxLength": 1024},
        "fullDescription": TEXT,
        "help": {**TEXT, "properties": {**TEXT["properties"], "markdown": {"type": "string", "minLength": 1}}},
        "defaultConfiguration": {"required": ["level"], "properties": {"level": LEVEL}},
        "properties": {
            "required": ["precision", "problem.severity", "tags"],
            "properties": {
                "precision": {"enum": ["very-high", "high", "medium", "low"]},
                "problem.severity": {"enum": ["error", "warning", "recommendation"]},
                "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            },
        },
    },
}
RESULT = {
    "type": "object",
    "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": LEVEL,
        "message": TEXT,
        "locations": {
            "type": "array",
            "minItems": 1,
            "items": {
                "required": ["physicalLocation"],
                "properties": {
                    "physicalLocation": {
                        "required": ["artifactLocation", "region"],
                        "properties": {"artifactLocation": PLACE, "region": REGION},
                    }
                },
            },
        },
        "partialFingerprints": {
            "type": "object",
            "required": ["primaryLocationLineHash"],
            "additionalProperties": {"type": "string", "minLength": 1},
        },
        "fixes": {
            "type": "array",
            "items": {
                "required": ["artifactChanges"],
                "properties": {
                    "description": TEXT,
                    "artifactChanges": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "required": ["artifactLocation", "replacements"],
                            "additionalProperties": False,
                            "properties": {
                                "artifactLocation": PLACE,
                                "replacements": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {
                                        "required": ["deletedRegion"],
                                        "additionalProperties": False,
                                        "properties": {
                                            "deletedRegion": REGION,
                                            "insertedContent": {"required": ["text"]},
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
DOCUMENT = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "https://json.schemastore.org/sarif-2.1.0.json"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "required": ["tool", "columnKind", "invocations", "results"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name", "version", "semanticVersion", "rules"],
                                "properties": {"rules": {"type": "array", "items": RULE}},
                            }
                        },
                    },
                    "columnKind": {"const": "unicodeCodePoints"},
                    "invocations": {
                        "type": "array",
                        "items": {
                            "required": ["executionSuccessful"],
                            "additionalProperties": False,
                            "properties": {
                                "executionSuccessful": {"type": "boolean"},
                                "toolExecutionNotifications": {
                                    "type": "array",
                                    "items": {"required": ["message"], "properties": {"level": LEVEL, "message": TEXT}},
                                },
                            },
                        },
                    },
                    "results": {"type": "array", "items": RESULT},
                },
            },
        },
    },
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("paramlint.linting.RULE_SETS", (flags,))
    return tmp_path


def checked(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["check", "--output-format", "sarif", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return valid(result.stdout)


def valid(text: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(text)
    jsonschema.validate(made, DOCUMENT)
    (only,) = made["runs"]
    for result in only["results"]:
        assert only["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    run: dict[str, Any] = only
    return run


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def region(result: dict[str, Any]) -> tuple[int, ...]:
    return tuple(result["locations"][0]["physicalLocation"]["region"].values())


def test_results_of_source_files() -> None:
    write("my src/é.py", 'import torch.optim\nx = "é", flag(\n    "PML610"\n)\nflag("PML605")\nflag("PML613")\n')
    made = checked(".")
    assert [(r["ruleId"], r["level"]) for r in made["results"]] == [
        ("PML610", "error"),
        ("PML605", "warning"),
        ("PML613", "note"),
    ]
    first, second, _ = made["results"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": "my%20src/%C3%A9.py",
        "uriBaseId": "%SRCROOT%",
    }
    assert region(first) == (2, 10, 4, 2)
    assert region(second) == (5, 1, 5, 15)
    assert first["message"]["text"] == "flagged as no-super-init\ndo not flag it"
    assert [r["id"] for r in made["tool"]["driver"]["rules"]] == ["PML605", "PML610", "PML613"]


def test_rules_bring_their_pages() -> None:
    write("broken.py", "import torch.optim\ndef f(:\n")
    (rule,) = checked(".")["tool"]["driver"]["rules"]
    assert rule["name"] == "NotPython"
    assert rule["help"]["markdown"].startswith("# PML001 not-python")
    assert rule["fullDescription"]["text"] == "A file cannot be read as Python."


def test_fingerprints_outlive_the_lines_above_and_differ() -> None:
    text = 'import torch.optim\nflag("PML610")\nflag("PML610")\nif x:\n    flag("PML610")\nflag("PML605")\n'

    def prints() -> list[str]:
        return [r["partialFingerprints"]["primaryLocationLineHash"] for r in checked("train.py")["results"]]

    write("train.py", text)
    before = prints()
    assert len(set(before)) == 4
    write("train.py", f"# more\n\n{text}")
    assert prints() == before


@pytest.mark.parametrize(
    "text",
    [
        'import torch.optim\nx = 1; fixable("PML610")\ny = 2\n',
        'import torch.optim\nfixable("PML610")',
        "x = 1\n# paramlint: ignore[PML610]\ny = 2\n",
        "x = 1  # paramlint: ignore[PML610]",
        "# paramlint: ignore[PML610]\n",
        "# paramlint: ignore[PML610]",
        "x = 1\r\n# paramlint: ignore[PML610]\r\n",
    ],
)
def test_fixes_change_the_file_as_mending_does(text: str) -> None:
    Path("train.py").write_bytes(text.encode())
    (result,) = checked("train.py")["results"]
    (change,) = result["fixes"][0]["artifactChanges"]
    assert change["artifactLocation"] == {"uri": "train.py", "uriBaseId": "%SRCROOT%"}
    (replacement,) = change["replacements"]
    made = replaced(text, replacement["deletedRegion"], replacement["insertedContent"]["text"])
    CliRunner().invoke(cli, ["check", "--fix", "train.py"])
    assert Path("train.py").read_bytes().decode() == made != text


def replaced(text: str, where: dict[str, int], new: str) -> str:
    lines = text.splitlines(keepends=True)

    def offset(line: int, column: int) -> int:
        return sum(map(len, lines[: line - 1])) + column - 1

    start, end = offset(where["startLine"], where["startColumn"]), offset(where["endLine"], where["endColumn"])
    return text[:start] + new + text[end:]


def test_results_of_models_are_where_the_model_is_made() -> None:
    inside = finding("PML203", "wte.weight")
    outside = replace(finding("PML212", "h.0.attn.qkv.weight"), location=Location("/lib/model.py", 7))
    made = valid(sarif.document([run(inside, outside)], None))
    first, second = made["results"]
    assert "wte.weight" in first["message"]["text"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "train.py"
    assert second["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "file:///lib/model.py"}
    assert region(second) == (7, 1)


def test_what_could_not_be_looked_at_is_told() -> None:
    runs: list[Run] = []
    made = valid(sarif.document(runs, None, {"gpt": ParamlintError("no module", where="m:f")}))
    (invocation,) = made["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["toolExecutionNotifications"][0]["message"]["text"] == "gpt: m:f: no module"
    assert made["results"] == [] and made["tool"]["driver"]["rules"] == []


def test_nothing_found_is_a_whole_report() -> None:
    write("train.py", "import torch.optim\n")
    made = checked("train.py")
    assert made["results"] == [] and made["invocations"] == [{"executionSuccessful": True}]
