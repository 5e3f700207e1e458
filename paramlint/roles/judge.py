"""From evidence to role, and by policy to destination."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from paramlint.parameter import LAYERS, Confidence, Evidence, Inventory, Parameter
from paramlint.profile import Policy
from paramlint.roles import accessor, identity, module, name, shape, structure, use
from paramlint.roles.ends import Ends
from paramlint.roles.module import Fused
from paramlint.roles.tree import Tree

_CONFIDENCE: tuple[Confidence, ...] = ("certain", "likely", "guess")
# What a linear map or a convolution is unless something speaks for more: anything as sure that says more wins.
PLAIN = ("hidden-matrix", "conv-filter")
# Labels of one destination: the weaker statement may say more exactly what the stronger one found.
_REFINES: dict[str, tuple[str, ...]] = {
    "hidden-matrix": ("fused-matrix", "router", "low-rank-adapter", "expert-stack"),
    "embedding": ("position-table", "relative-bias"),
    "position-table": ("relative-bias", "token"),
    "scale": ("norm-gain", "bias", "token", "position-table", "relative-bias"),
    "row-matrix": ("output-head", "norm-gain", "bias", "token", "position-table"),
    "token": ("position-table", "bias", "scale"),
}


def judge(
    inventory: Inventory,
    policy: Policy,
    *,
    layers: Collection[str] = LAYERS,
    overrides: Mapping[str, str] | None = None,
) -> Inventory:
    """The inventory with every parameter's role, evidence, confidence and destination.

    Args:
        inventory: facts, as `paramlint.model.facts` reads them or a snapshot keeps them.
        policy: sends roles to Muon or to Adam.
        layers: the evidence layers that may speak.
        overrides: roles by name pattern (`fnmatch`); the last that matches decides, against all evidence.
    """
    tree = Tree(inventory)
    ends = Ends(tree)
    seen: frozenset[tuple[int, ...]] = frozenset()
    if any(p.reach == "unreached" for p in inventory.parameters):
        said = ((p.shape, e.role) for p in inventory.parameters for e in use.speak(p))
        seen = frozenset(size for size, role in said if role in ("hidden-matrix", "fused-matrix"))
    judged = tuple(_judged(tree, ends, p, policy, layers, overrides or {}, seen) for p in inventory.parameters)
    return replace(inventory, parameters=judged, policy=policy.name)


def _judged(
    tree: Tree,
    ends: Ends,
    p: Parameter,
    policy: Policy,
    layers: Collection[str],
    overrides: Mapping[str, str],
    seen: Collection[tuple[int, ...]],
) -> Parameter:
    spoken = [e for e in [*_all_evidence(tree, ends, p), *shape.alike(p, seen)] if e.layer in layers]
    spoken += identity.speak(p, spoken) if "identity" in layers else ()
    spoken.sort(key=_rank)
    chosen = _choose(spoken)
    if chosen is not None and chosen.role in PLAIN:
        chosen = _joined(chosen, spoken)
    for pattern, role in overrides.items():
        if any(fnmatchcase(s.name, pattern) for s in p.sites):
            chosen = Evidence("identity", role, f"set by configuration: {pattern!r} = {role!r}")
            spoken.insert(0, chosen)
    if chosen is None:
        return replace(p, role="unknown", confidence="guess", destination=policy.rulings["unknown"].plan, evidence=())
    ordered = (chosen, *(e for e in spoken if e is not chosen and (e.layer, e.role) != (chosen.layer, chosen.role)))
    return replace(
        p,
        role=chosen.role,
        confidence=_confidence(chosen, ordered),
        destination=policy.rulings[chosen.role].plan,
        evidence=ordered,
        splits=chosen.splits if isinstance(chosen, Fused) else (),
    )


def _all_evidence(tree: Tree, ends: Ends, p: Parameter) -> list[Evidence]:
    if p.state != "ok" or p.numel == 0:
        return []
    found = [
        *use.speak(p),
        *module.speak(tree, p),
        *accessor.speak(tree, p),
        *structure.speak(tree, p),
        *shape.speak(p),
    ]
    end = ends.speak(p)
    if end is not None:
        if end.confidence == "guess":
            # outside every stack, and neither end for sure: the class alone does not tell a hidden map from a head
            found = [
                replace(e, confidence="guess")
                if e.layer != "use" and e.role in PLAIN and e.confidence == "likely"
                else e
                for e in found
            ]
        found.append(end)
    found += name.speak(p, raw=_is_raw(tree, p), singleton=ends.singleton(p))
    return found


def _is_raw(tree: Tree, p: Parameter) -> bool:
    return all(tree.kind_of(s) == "other" for s in p.sites)


def _rank(e: Evidence) -> tuple[int, bool, bool, int]:
    return _CONFIDENCE.index(e.confidence), e.role == "unused", e.role in PLAIN, LAYERS.index(e.layer)


def _choose(spoken: list[Evidence]) -> Evidence | None:
    """The strongest statement, or a weaker one that only says more exactly the same."""
    if not spoken:
        return None
    best = spoken[0]
    # one row is one row, whatever the map it belongs to is for
    vector = next((e for e in spoken if e.layer == "shape"), None)
    if vector is not None and best.role in (*PLAIN, "output-head", "fused-matrix", "input-projection"):
        best = vector
    closer = _REFINES.get(best.role, ())
    finer = next((e for e in spoken if e.role in closer and e.layer != "shape"), None)
    if finer is None or finer.confidence != "guess":
        return finer or best
    return replace(finer, text=f"{best.text}; {finer.text}")


def _joined(chosen: Evidence, spoken: list[Evidence]) -> Evidence:
    """A plain map's class and place in one line: neither says much alone."""
    agreed = [e for e in spoken if e.role == chosen.role and e.layer == "structure" and e is not chosen]
    return replace(chosen, text=f"{chosen.text}, {agreed[0].text}") if agreed else chosen


def _confidence(chosen: Evidence, ordered: tuple[Evidence, ...]) -> Confidence:
    """A plain map that class and place agree on, and nobody else claims, is certain."""
    if chosen.role in PLAIN and chosen.confidence == "likely":
        agreed = {e.layer for e in ordered if e.role == chosen.role}
        if len(agreed) > 1 and all(e.role in PLAIN for e in ordered):
            return "certain"
    if chosen.confidence == "guess" and any(e.confidence == "certain" for e in ordered):
        # only the label was refined by a guess; where the parameter goes was certain before
        return "likely"
    return chosen.confidence
