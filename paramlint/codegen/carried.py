"""Which options of an optimizer's construction become which settings of a generated function."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import libcst as cst

from paramlint.codegen.find_optimizer import Construction, keys, parameters
from paramlint.codegen.text import literal
from paramlint.errors import ParamlintError
from paramlint.knowledge import Knowledge
from paramlint.parameter import Plain
from paramlint.profile import Profile

#: The arguments after `params` that the constructors of torch.optim take by position.
_ORDER = {
    "SGD": ("lr", "momentum", "dampening", "weight_decay", "nesterov"),
    "RMSprop": ("lr", "alpha", "eps", "weight_decay", "momentum", "centered"),
    "Adagrad": ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"),
    "Adadelta": ("lr", "rho", "eps", "weight_decay"),
    "Muon": ("lr", "weight_decay", "momentum", "nesterov"),
    **dict.fromkeys(("Adam", "AdamW", "Adamax", "NAdam", "RAdam"), ("lr", "betas", "eps", "weight_decay")),
}
#: Optimizers whose lr is of the size of AdamW's.
_ADAM_LIKE = {f"torch.optim.{name}" for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SparseAdam")}
#: Those of them, and others, that add weight decay to the gradient, where AdamW and Muon shrink the weight itself.
_COUPLED = {f"torch.optim.{name}" for name in ("Adam", "Adamax", "NAdam", "RAdam", "SGD", "RMSprop", "Adagrad")}
#: Options that torch's Adam and AdamW share beside those of groups, with their defaults: an AdamW half takes them too.
#: Not `maximize`, which a Muon half would have to share.
_OF_ADAMW = {"eps": "1e-8", "amsgrad": "False", "foreach": "None", "capturable": "False", "fused": "None"}
#: What optimizers of torch have by default where no profile says otherwise.
_USUAL: Mapping[str, Plain] = {"weight_decay": 0, "betas": (0.9, 0.999)}


@dataclass(frozen=True)
class Option:
    """An argument of the construction: its place, its name (None for `**`), the source of its value."""

    index: int
    name: str | None
    value: str
    node: ast.expr


@dataclass
class Carried:
    """What becomes of each argument. `settings` are arguments of the generated function by the place of the old one;
    those under `len(args)` had none. `dropped` are the places of those that have no counterpart."""

    settings: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    dropped: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[tuple[str, str]]:
        return [pair for index in sorted(self.settings) for pair in self.settings[index]]


def options(found: Construction, call: cst.Call, where: str) -> list[Option]:
    """The arguments but for the parameters, in order.

    Raises:
        ParamlintError: they are in `*args`, or more are given by position than is known of the class.
    """
    nodes = [*found.call.args, *(k.value for k in found.call.keywords)]
    names = [*(None for _ in found.call.args), *(k.arg for k in found.call.keywords)]
    by_position = (None, *_ORDER.get(found.optimizer.removeprefix("torch.optim."), ("lr",)))
    whole = parameters(found.call)
    order = sorted(range(len(nodes)), key=lambda i: (nodes[i].lineno, nodes[i].col_offset))
    result = []
    for index, i in enumerate(order):
        name, node = names[i], nodes[i]
        if node is whole:
            continue
        if i < len(found.call.args):
            if isinstance(node, ast.Starred) or i >= len(by_position):
                raise ParamlintError(
                    "which option each argument is cannot be told", where=where, hint="give them by name first"
                )
            name = by_position[i]
        result.append(Option(index, name, cst.Module([]).code_for_node(call.args[index].value), node))
    return result


def carry(
    found: Construction,
    given: list[Option],
    defaults: Mapping[str, str],
    profile: Profile,
    known: Knowledge,
    where: str,
    *,
    keeps_class: bool,
    adamw_options: bool = False,
) -> Carried:
    """Options to settings, `defaults` being all settings with the source of their defaults.

    A class that stays, or that is the new optimizer already, keeps all that it had, its own defaults too: the settings
    of a group win over the constructor's. Of another class the size of lr decides where its lr goes; with
    `adamw_options` the new function passes further options of Adam and AdamW on to an AdamW of its own.

    Raises:
        ParamlintError: options come from a mapping, and nobody can tell which.
    """
    own = found.optimizer in (*profile.imports, *profile.classes)
    settings = dict(_settings(found, defaults, profile, known, own=own))
    if adamw_options and not own and found.optimizer in ("torch.optim.Adam", "torch.optim.AdamW"):
        settings |= {name: name for name in _OF_ADAMW}
    carried = Carried()
    named = {o.name for o in given if o.name is not None}
    for option in given:
        if option.name is None:
            _from_mapping(
                option, carried, found, settings, named, defaults, profile, where, own=own, drops=not keeps_class
            )
        elif option.name in settings:
            carried.settings[option.index] = [(settings[option.name], option.value)]
        else:
            carried.dropped.append(option.index)
    if own:
        _own_defaults(carried, found, settings, defaults, profile)
    if not keeps_class:
        carried.notes += _dropped(given, carried, defaults, profile)
    if not own and not keeps_class:
        carried.notes += _remarks(found, given, carried, defaults, profile)
        carried.notes += _new_defaults(found, given, carried, settings, defaults, known)
    return carried


def _settings(
    found: Construction, defaults: Mapping[str, str], profile: Profile, known: Knowledge, *, own: bool
) -> Iterator[tuple[str, str]]:
    """Which option is which setting."""
    if own:
        renamed = {"lr": profile.lr_key, "weight_decay": profile.decay_key}
        yield from ((renamed.get(name, name), name) for name in defaults)
        return
    if "weight_decay" in defaults:
        yield "weight_decay", "weight_decay"
    if not _adam_like(found.optimizer, known):
        return
    if "betas" in defaults:
        yield "betas", "betas"
    if "adamw_lr" in defaults:
        yield "lr", "adamw_lr"
    elif "lr" in defaults and profile.lr_class.get("default") == "adam":
        yield "lr", "lr"


def _adam_like(optimizer: str, known: Knowledge) -> bool:
    profiles = [p for p in known.profiles.values() if optimizer in (*p.imports, *p.classes)]
    return optimizer in _ADAM_LIKE or any(
        p.family == "elementwise" and p.lr_class.get("default") == "adam" for p in profiles
    )


def _from_mapping(
    option: Option,
    carried: Carried,
    found: Construction,
    settings: Mapping[str, str],
    named: set[str],
    defaults: Mapping[str, str],
    profile: Profile,
    where: str,
    *,
    own: bool,
    drops: bool,
) -> None:
    """`**options` may hold any setting that is not given by name. Where its keys cannot be told, it is asked for the
    settings that groups have."""
    held = keys(option.node, found.scopes)
    wanted = {o: s for o, s in settings.items() if o not in named}
    asked = {o: s for o, s in wanted.items() if (s in defaults if held is None else o in held)}
    if not asked:
        carried.dropped.append(option.index)
        return
    if not all(part.isidentifier() for part in option.value.split(".")):
        raise ParamlintError(
            f"whether **{option.value} has {' or '.join(asked)} cannot be told",
            where=where,
            hint="give them by name first",
        )
    before = {o: _plain(profile.defaults[o]) for o in asked if own and o in profile.defaults}
    otherwise = {**_OF_ADAMW, **{o: defaults[s] for o, s in asked.items() if s in defaults}, **before}
    carried.settings[option.index] = [(s, f'{option.value}.get("{o}", {otherwise[o]})') for o, s in asked.items()]
    rest = "; what else it has is dropped" if drops and not (held and held <= {*asked, *named}) else ""
    carried.notes.append(f"read from {option.value} where it has them: {', '.join(asked)}{rest}")


def _own_defaults(
    carried: Carried, found: Construction, settings: Mapping[str, str], defaults: Mapping[str, str], profile: Profile
) -> None:
    """What the constructor had by default stays, where a generated function would start from another number."""
    said = {name for name, _ in carried.all}
    missing: list[tuple[str, str]] = []
    for option, setting in settings.items():
        if setting in said or option not in profile.defaults:
            continue
        value = profile.defaults[option]
        if _plain(value) != _plain(ast.literal_eval(defaults[setting])):
            missing.append((setting, _plain(value)))
    if missing:
        carried.settings[len(found.call.args) + len(found.call.keywords)] = missing
        shown = ", ".join(f"{n}={v}" for n, v in missing)
        carried.notes.append(f"passed on as the default that {_short(found)} had: {shown}")


def _dropped(given: list[Option], carried: Carried, defaults: Mapping[str, str], profile: Profile) -> Iterator[str]:
    """What was given and goes; of an lr that starts anew `_remarks` speaks."""
    anew = "lr" in defaults and "lr" not in dict(carried.all)
    gone = [o for o in given if o.index in carried.dropped and not (anew and o.name == "lr")]
    if gone:
        shown = ", ".join(f"**{o.value}" if o.name is None else f"{o.name}={_line(o)}" for o in gone)
        yield f"dropped, without a counterpart in {profile.name}: {shown}"


def _remarks(
    found: Construction, given: list[Option], carried: Carried, defaults: Mapping[str, str], profile: Profile
) -> Iterator[str]:
    """What somebody should look at who gets another optimizer."""
    passed = dict(carried.all)
    lr = "" if "lr" not in defaults or "lr" in passed else defaults["lr"]
    if lr:
        half = " of the Muon half" if "adamw_lr" in defaults else ""
        old = next((f"lr={_line(o)}" for o in given if o.name == "lr"), "the lr")
        why = "went to the AdamW half" if "adamw_lr" in passed else f"was of {_short(found)}'s size"
        yield f"lr{half} starts from {lr}: {old} {why}"
    decay = passed.get("weight_decay", "0")
    if decay not in ("0", "0.0") and found.optimizer in _COUPLED and profile.name not in ("adam", "sgd"):
        yield f"weight_decay={decay}: {_short(found)} added it to the gradient, now it is decoupled; look at the number"


def _new_defaults(
    found: Construction,
    given: list[Option],
    carried: Carried,
    settings: Mapping[str, str],
    defaults: Mapping[str, str],
    known: Knowledge,
) -> Iterator[str]:
    """Options that were at their default, which another class has at another one."""
    profiles = [p for p in known.profiles.values() if found.optimizer in (*p.imports, *p.classes)]
    before = profiles[0].defaults if profiles else _USUAL if found.optimizer.startswith("torch.optim.") else {}
    by_name = {o.name for o in given}
    mapping = next((o.value for o in given if o.name is None and o.index in carried.settings), "")
    passed = {setting for setting, _ in carried.all}
    for option, setting in settings.items():
        if option == "lr" or option in by_name or option not in before or setting not in defaults:
            continue
        old = before[option]
        if ast.literal_eval(defaults[setting]) != (tuple(old) if isinstance(old, list) else old):
            where = f" where {mapping} has none" if setting in passed else ""
            yield f"{setting}={defaults[setting]} is new{where}: {_short(found)} had {_plain(old)} by default"


def _line(option: Option) -> str:
    return " ".join(option.value.split())


def _plain(value: Plain) -> str:
    return literal(tuple(value) if isinstance(value, list) else value)


def _short(found: Construction) -> str:
    return found.optimizer.rpartition(".")[2]
