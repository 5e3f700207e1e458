"""A whole module from a plan: which sections, in which order, under which imports."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

import libcst as cst

from paramlint import __version__
from paramlint.codegen import emit, layer_code, styles
from paramlint.codegen.styles import Style
from paramlint.codegen.text import Section, docstring
from paramlint.parameter import Inventory, Plain
from paramlint.planned import Plan
from paramlint.profile import Profile


def generate(
    plan: Plan,
    inventory: Inventory,
    profile: Profile,
    *,
    style: Style = "rules",
    call_options: Mapping[str, Plain] | None = None,
) -> str:
    """The text of a module that defines `param_groups` and `build_optimizer`. The same plan gives the same bytes.

    Args:
        inventory: that of the plan.
        profile: that of the plan.
        style: "rules" (module types, identity and a few names), "names" (every name) or "call" (paramlint itself).
        call_options: what style "call" passes to `paramlint.plan` beside the optimizer.

    Raises:
        ParamlintError: there is no code for this optimizer, or not with layers.
    """
    sections = [styles.section(style, plan, inventory, call_options=call_options or {})]
    if plan.layers is not None:
        sections.append(layer_code.section(plan, explicit=style == "names"))
    sections.append(emit.section(plan, profile))
    if any("plain_name(" in section.body for section in sections):
        sections.insert(0, _plain_name(plan))
    imports = _imports(line for section in sections for line in section.imports)
    head = docstring(*_about(plan, profile, style, ended=any("ENDS: list[" in s.body for s in sections)))
    body = "\n\n\n".join(section.body.strip("\n") for section in sections)
    constant = body.partition("\n")[0].partition("=")[0].strip(" :#").isidentifier() and not body.startswith("def")
    gap = "\n\n" if constant or body.startswith("#") else "\n\n\n"
    text = f"{head}\n\n{imports}{gap}{body}\n"
    return cst.parse_module(text).code


def _about(plan: Plan, profile: Profile, style: Style, *, ended: bool) -> Iterable[str]:
    """`ended` says that there are lists which may have no other length."""
    model = plan.model.rpartition(".")[2]
    yield f"Param groups of {model} for {profile.title}."
    depths = "depth or width" if plan.layers is None or layer_code.any_depth(plan) else "width"
    but = ", but where a list of `ENDS` has another end" if ended else ""
    how = {
        "rules": f"by module types, tensor identity and a few names: models of another {depths} are served too{but}",
        "names": "by the names of its parameters: any other model is an error",
        "call": "by paramlint, when it is called",
    }[style]
    made = f"for {plan.target} " if plan.target else ""
    yield f"Written by paramlint {__version__} {made}(policy {plan.policy}). Parameters are told apart {how}."
    if profile.install and profile.distribution != "torch":
        yield f"Needs: {profile.install}"
    yield from ((f"Layers: {layer_code.about(plan, style == 'names')}.",) if plan.layers else ())
    yield from plan.notes


def _plain_name(plan: Plan) -> Section:
    """A model may have a module called `module`; then that prefix is no wrapper's."""
    ddp = not any(name.startswith("module.") for name in plan.labels)
    strip = '    return name.removeprefix("module.")\n' if ddp else "    return name\n"
    wrappers = '("_orig_mod.", "_checkpoint_wrapped_module.")'
    body = (
        "def plain_name(name: str) -> str:\n"
        f"    {docstring('The name of a parameter without what wrappers put into it.', indent=4)}\n"
        f"    for wrapper in {wrappers}:\n"
        '        name = name.replace(wrapper, "")\n'
        f"{strip}"
    )
    return Section(body)


def _imports(lines: Iterable[str]) -> str:
    """One block: `__future__`, the standard library, all others; names from one module in one statement."""
    whole: set[str] = set()
    parts: dict[str, set[str]] = {"__future__": {"annotations"}}
    remarks: dict[str, str] = {}
    for line in dict.fromkeys(lines):
        statement, _, remark = line.partition("  #")
        node = cst.ensure_type(cst.parse_statement(statement), cst.SimpleStatementLine).body[0]
        if isinstance(node, cst.ImportFrom) and node.module is not None and not isinstance(node.names, cst.ImportStar):
            module = cst.Module([]).code_for_node(node.module)
            parts.setdefault(module, set()).update(cst.Module([]).code_for_node(n).rstrip(", ") for n in node.names)
            if remark:
                remarks[module] = f"  #{remark}"
        else:
            whole.add(line)
    blocks: list[list[str]] = [[], [], []]
    for line in sorted(whole):
        blocks[_rank(line.split()[1])].append(line)
    for module in sorted(parts):
        names = ", ".join(sorted(parts[module], key=lambda n: (n.upper() != n, n[0].islower(), n)))
        blocks[_rank(module)].append(f"from {module} import {names}{remarks.get(module, '')}")
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _rank(module: str) -> int:
    top = module.partition(".")[0]
    return 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 2
