"""What a smoke script knows of the groups that were planned: the kind of each parameter, who updates it, and its lr."""

from __future__ import annotations

import re
from collections import Counter

from paramlint.codegen.emit.package import class_path, imported
from paramlint.codegen.text import comment, enclosed, literal
from paramlint.parameter import Inventory, Parameter
from paramlint.planned import Plan, Ref
from paramlint.profile import Profile

#: A segment of a name that is a number or ends in one, behind `_`.
_NUMBER = r"(?<![^._])\d+(?![^.])"


def planned(plan: Plan, inventory: Inventory, profile: Profile) -> str:
    """`PLANNED`: the names of each kind, without the vectors of the kind that most vectors are of; and the kinds that
    Muon is for.

    Names that only differ in numbers are one pattern, where all of them are of one kind: it fits another depth too.
    """
    trained = [p for p in inventory.parameters if p.trainable]
    kinds: dict[str, set[str]] = {}
    for p in trained:
        kinds.setdefault(_spelt(p.name), set()).add(plan.labels[p.name])
    rest = _vectors(plan, trained)
    names: dict[str, dict[str, None]] = {}
    for p in trained:
        label, spelt = plan.labels[p.name], _spelt(p.name)
        if p.ndim > 1 or label != rest:
            pattern = p.name if len(kinds[spelt]) > 1 else spelt
            names.setdefault(label, {})[pattern] = None
    lists = [enclosed(f"{literal(label)}: [", map(literal, told), "]", broken=True) for label, told in names.items()]
    table = enclosed("PLANNED: dict[str, list[str]] = {", lists, "}", broken=bool(lists))
    about = "The kind that was planned for each parameter; `*` is any number."
    if rest:
        about += f" Vectors that are not here are {rest}."
    muon = f"\n{_labels('MUON', _muon(plan))}" if _by_muon(plan, profile) else ""
    return f"{comment(about)}\n{table}{muon}"


def check_groups(plan: Plan, inventory: Inventory, profile: Profile) -> list[str]:
    """The function of that name: whether parameters are where they were planned to be; and where it can be told,
    `by_muon`, which says whether Muon updates a parameter."""
    rest = _vectors(plan, [p for p in inventory.parameters if p.trainable])
    text = _GROUPS.strip("\n").replace("@rest", literal(rest)).replace("@number", _NUMBER)
    told = _by_muon(plan, profile)
    return [_TOLD.strip("\n").replace("@told", told), text.replace(_BY_KIND, _BY_HALF)] if told else [text]


def check_rates(plan: Plan, profile: Profile) -> list[str]:
    """The function of that name, which holds the lr of AdamW against that of Muon; none where both are of one size."""
    muon = [k for k in plan.kinds if k.half == "muon"]
    key = profile.lr_scale_key
    mode = next((str(k.options[key]).lower() for k in muon if key in k.options), "default") if key else "default"
    size = profile.lr_class.get(mode, profile.lr_class.get("default"))
    adam = [k.label for k in plan.kinds if k.half == "adam" and k.options.get("lr") == Ref("adamw_lr")]
    if not adam or not _by_muon(plan, profile) or profile.aux_lr == "same" or size != "muon":
        return []
    labels = _labels("adams", adam, indent=4).replace("\n", "\n    ")
    return [_RATES.replace("@adams", labels).strip("\n")]


def _by_muon(plan: Plan, profile: Profile) -> str:
    """The expression of `by_muon`; "" where neither the optimizer's class nor its group tells it."""
    if _muon(plan) and profile.call_shape == "two-optimizers":
        _, cls = imported(class_path(profile))
        return f"isinstance(optimizer, {cls if cls.startswith('optim.') else f'groups.{cls}'})"
    if _muon(plan) and profile.flag_key and profile.flag_adam:
        return f"group.get({literal(profile.flag_key)}) not in {literal(profile.flag_adam)}"
    return ""


def _muon(plan: Plan) -> list[str]:
    return [k.label for k in plan.kinds if k.half == "muon"]


def _labels(name: str, labels: list[str], indent: int = 0) -> str:
    return enclosed(f"{name} = (", map(literal, labels), ",)" if len(labels) == 1 else ")", indent=indent)


def _vectors(plan: Plan, trained: list[Parameter]) -> str:
    """The kind of most parameters of less than two dimensions; "" where there are none."""
    found = Counter(plan.labels[p.name] for p in trained if p.ndim < 2)
    return found.most_common(1)[0][0] if found else ""


def _spelt(name: str) -> str:
    return re.sub(_NUMBER, "*", name)


_TOLD = '''
def by_muon(optimizer: optim.Optimizer, group: dict[str, Any]) -> bool:
    """Whether Muon updates the parameters of a group."""
    return @told
'''

_GROUPS = '''
def check_groups(model: nn.Module, optimizers: Optimizers) -> None:
    """Whether each parameter is where it was planned to be."""
    kinds, held = groups.kinds_of(model), places(optimizers)
    known = {name: kind for kind, names in PLANNED.items() for name in names}
    found, elsewhere = 0, []
    for name, p in model.named_parameters():
        own = getattr(groups, "plain_name", str)(name)
        pattern = re.sub(r"@number", "*", own)
        kind = known.get(own, known.get(pattern, "" if p.ndim > 1 else @rest))
        if not kind or id(p) not in held:
            continue
        found += 1
        now = kinds.get(name, "frozen")
        if now != kind:
            elsewhere.append(f"{name} (planned as {kind}, is {now})")
    figure = f"{found - len(elsewhere)} of {found} parameters are as planned"
    check("groups", not elsewhere, figure + but(elsewhere))
'''
_BY_KIND = """
        if now != kind:
            elsewhere.append(f"{name} (planned as {kind}, is {now})")
"""
_BY_HALF = """
        muon = by_muon(*held[id(p)])
        if now != kind or muon != (kind in MUON):
            half = "Muon" if muon else "Adam"
            elsewhere.append(f"{name} (planned as {kind}, is {now} with {half})")
"""

_RATES = '''
def check_rates(model: nn.Module, optimizers: Optimizers) -> None:
    """AdamW moves every element by about lr: one of Muon's size is too large."""
    kinds, held = groups.kinds_of(model), places(optimizers)
    @adams
    muon, rates = 0.0, {}
    for name, p in model.named_parameters():
        if id(p) not in held:
            continue
        lr = float(held[id(p)][1]["lr"])
        if by_muon(*held[id(p)]):
            muon = max(muon, lr)
        elif kinds.get(name) in adams:
            rates[name] = lr
    large = [n for n, lr in rates.items() if lr >= muon / 3 > 0]
    figure = f"Muon's {muon:g}, AdamW's up to {max(rates.values(), default=0.0):g}"
    check("learning rates", not large, figure + but(large))
'''
