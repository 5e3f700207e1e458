"""`kinds_of` by what modules are, by the identity of tensors, and by a few names."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from paramlint.codegen.styles.decide import Rule, Rules, decide
from paramlint.codegen.text import WIDTH, Section, enclosed, literal, regex
from paramlint.parameter import Inventory
from paramlint.planned import Plan

_MATCHES = '''\
def matches(name: str, pattern: str) -> bool:
    """Whether a name is of that pattern, in which `{mark}` stands for a number."""
    return bool(re.fullmatch(re.escape(pattern).replace({escaped}, r"\\d+"), name))
'''
_UNUSED = """\
    names = [plain_name(n) for n, _ in model.named_parameters(remove_duplicate=False)]
    for pattern in NAMES:
        if not any(matches(name, pattern) for name in names):
            raise ValueError(f"no parameter of the model is called {pattern}")
"""
_UNUSED_EXACT = """\
    names = [plain_name(n) for n, _ in model.named_parameters(remove_duplicate=False)]
    for name in NAMES:
        if name not in names:
            raise ValueError(f"no parameter of the model is called {name}")
"""
_ENDS = """\
    for path, last in ENDS:
        found = (re.match(rf"{path}(\\d+)", name) for name in names)
        if max((int(number[1]) for number in found if number), default=0) != last:
            raise ValueError(f"a list does not end with {path}{last} any more")
"""
_EMBEDDINGS = """\
    embeddings = {{
        id(p)
        for module in model.modules()
        if isinstance(module, {classes})
        for p in module.parameters(recurse=False)
    }}
"""


def section(plan: Plan, inventory: Inventory) -> Section:
    """`kinds_of`, a function with one test to a line, and the names that those tests would get wrong."""
    found = decide(inventory, plan.labels)
    starred = any(found.mark in n.pattern for n in found.names)
    last = list(ends(found, inventory, plan.labels))
    parts = [_names(found, starred)] if found.names else []
    parts += [_ends(last)] if last else []
    escaped = regex(re.escape(found.mark))
    parts += [_MATCHES.rstrip().format(mark=found.mark, escaped=escaped)] if starred else []
    parts += [_kind_of(found, starred), _kinds_of(found, starred, bool(last), [k.label for k in plan.kinds])]
    imports = ("import re", "from torch import nn") if starred or last else ("from torch import nn",)
    return Section("\n\n\n".join(parts), imports)


def _names(found: Rules, starred: bool) -> str:
    """In the order in which they are tried."""
    star = f"; `{found.mark}` stands for a number" if starred else ""
    lines = ["NAMES = {"]
    for n in found.names:
        entry, why = f"    {literal(n.pattern)}: {literal(n.label)},", " ".join(n.why.split())
        if len(entry) + len(why) + 4 <= WIDTH:
            lines.append(f"{entry}  # {why}")
        else:
            lines += [f"    # {why}", entry]
    return "\n".join([f"# Told by name, before any test in `kind_of`{star}.", *lines, "}"])


def ends(found: Rules, inventory: Inventory, labels: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Lists whose last members are told from those before by their numbers, as regular expressions of what stands
    before the number, with the last number: of a list of another length it is not known which would be the last."""
    numbers: dict[str, set[int]] = {}
    for p in inventory.parameters:
        for start, number, _ in _members(p.name):
            numbers.setdefault(start, set()).add(number)
    last: dict[str, int] = {}
    for before, after in dict.fromkeys((b, a) for named in found.names for b, _, a in _members(named.pattern)):
        path, rest = (re.escape(part).replace(re.escape(found.mark), r"\d+") for part in (before, after))
        told = re.compile(rf"({path})(\d+){rest}")
        alike: dict[str, dict[int, str]] = {}
        for match in filter(None, (told.fullmatch(p.name) for p in inventory.parameters)):
            alike.setdefault(match[1], {})[int(match[2])] = labels[match[0]]
        for start, by_number in alike.items():
            longest = max(numbers[start])
            *others, final = (by_number[n] for n in sorted(by_number))
            if others[-1] != final if others else longest in by_number and len(numbers[start]) > 1:
                last[path] = max(n for where, several in numbers.items() if re.fullmatch(path, where) for n in several)
    yield from last.items()


def _members(name: str) -> Iterator[tuple[str, int, str]]:
    """What stands before each number of a name, the number, and what stands after it; dots are with the others."""
    for found in re.finditer(r"(?:(?<=\.)|^)\d+(?=\.|\Z)", name):
        yield name[: found.start()], int(found[0]), name[found.end() :]


def _ends(last: Sequence[tuple[str, int]]) -> str:
    pairs = (f"({regex(path)}, {number})" for path, number in last)
    said = "# Lists whose ends `NAMES` tells by numbers: others would have other ends."
    return f"{said}\n{enclosed('ENDS: list[tuple[str, int]] = [', pairs, ']', broken=True)}"


def _kind_of(found: Rules, starred: bool) -> str:
    tests = {r.test for r in found.rules}
    owner = bool(tests & {"class", "depthwise"})
    parameters = ["name: str", "p: nn.Parameter"]
    parameters += ["owner: nn.Module"] if owner else []
    parameters += ["embeddings: set[int]"] if "embedding" in tests else []
    lines = [
        enclosed("def kind_of(", parameters, ") -> str:"),
        '    """The kind of one parameter: the first test that holds decides."""',
    ]
    if starred:
        lines += [
            "    for pattern, kind in NAMES.items():",
            "        if matches(name, pattern):",
            "            return kind",
        ]
    elif found.names:
        lines += ["    if name in NAMES:", "        return NAMES[name]"]
    for test, label in _tests(found.rules):
        lines += [f"    if {test}:", f"        return {literal(label)}"]
    lines.append('    raise ValueError(f"no rule covers {name}, of shape {tuple(p.shape)}")')
    return "\n".join(lines)


def _tests(rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    """Each test with its label. Two tests on the tensor itself that have one label are one."""
    tensor = {"vector": "p.ndim < 2", "thin": "sum(d > 1 for d in p.shape) < 2", "embedding": "id(p) in embeddings"}
    pending: list[Rule] = []
    for i, rule in enumerate(rules):
        if rule.test in tensor:
            pending.append(rule)
            following = rules[i + 1] if i + 1 < len(rules) else None
            if following is None or following.test not in tensor or following.label != rule.label:
                yield " or ".join(tensor[r.test] for r in pending), rule.label
                pending = []
        else:
            more = " and owner.groups == owner.in_channels > 1" if rule.test == "depthwise" else ""
            for classes in _chunks(rule.classes, WIDTH - len(f"    if isinstance(owner, ()){more}:")):
                yield f"isinstance(owner, {_tuple(classes)}){more}", rule.label


def _chunks(classes: Sequence[str], width: int) -> Iterator[list[str]]:
    """As many classes as fit into one line."""
    chunk: list[str] = []
    for name in classes:
        if chunk and len(_tuple([*chunk, name])) > width:
            yield chunk
            chunk = []
        chunk.append(name)
    yield chunk


def _tuple(classes: Sequence[str]) -> str:
    names = ", ".join(f"nn.{name}" for name in classes)
    return names if len(classes) == 1 else f"({names})"


def _kinds_of(found: Rules, starred: bool, ended: bool, labels: Sequence[str]) -> str:
    tests = {r.test: r for r in found.rules}
    frozen = sorted(found.labels - set(labels))
    lines = [
        "def kinds_of(model: nn.Module) -> dict[str, str]:",
        '    """The kind of every trainable parameter, by name.',
        "",
        "    Raises:",
        *_errors(found, ended, bool(frozen)),
        '    """',
    ]
    if "embedding" in tests:
        lines.append(_EMBEDDINGS.format(classes=_tuple(tests["embedding"].classes)).rstrip("\n"))
    if found.names:
        lines.append((_UNUSED if starred else _UNUSED_EXACT).rstrip("\n"))
    if ended:
        lines.append(_ENDS.rstrip("\n"))
    arguments = ["plain_name(name)" if found.names else "name", "p"]
    owner = bool({"class", "depthwise"} & tests.keys())
    arguments += ["owner"] if owner else []
    arguments += ["embeddings"] if "embedding" in tests else []
    lines += ["    kinds: dict[str, str] = {}", "    for name, p in model.named_parameters():"]
    lines += ["        if not p.requires_grad:", "            continue"]
    lines += ['        owner = model.get_submodule(name.rpartition(".")[0])'] if owner else []
    lines += [f"        kinds[name] = kind_of({', '.join(arguments)})"]
    if frozen:
        lines += _frozen(frozen)
    return "\n".join([*lines, "    return kinds"])


def _frozen(labels: Iterable[str]) -> list[str]:
    """Labels that only frozen parameters have, which no group is for."""
    quoted = [literal(one) for one in labels]
    test = f"== {quoted[0]}" if len(quoted) == 1 else f"in ({', '.join(quoted)})"
    return [
        f"        if kinds[name] {test}:",
        '            raise ValueError(f"{name} was frozen: no group is for {kinds[name]}")',
    ]


def _errors(found: Rules, ended: bool, frozen: bool) -> list[str]:
    errors = ["no rule covers a parameter"]
    errors += ["one was frozen and has no group"] if frozen else []
    errors += ["NAMES has a name that matches nothing"] if found.names else []
    errors += ["a list of ENDS has another end"] if ended else []
    told = ", or ".join([", ".join(errors[:-1]), errors[-1]]) if len(errors) > 1 else errors[0]
    return textwrap.wrap(f"ValueError: {told}.", WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 12)
