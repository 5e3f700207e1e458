"""What Newton-Schulz adds to the arithmetic of a training step, in floating-point operations. No torch.

A product of an a by b matrix with a b by c one takes 2abc of them. One step of the quintic iteration on a matrix X of
m rows and n >= m columns (a taller one is transposed first) is three products, all else being of lower order:

    A = X X^T          m n m:  2 n m^2
    B = b A + c A A    m m m:  2 m^3
    X = a X + B X      m m n:  2 n m^2

which makes 4 n m^2 + 2 m^3, and no more than 6 n m^2: https://kellerjordan.github.io/posts/muon/ (section "Runtime").
Implementations that make use of A's symmetry, or that work on A alone, take fewer.

The forward pass takes 2 for each token and each element of a matrix that it is multiplied with, the backward pass
another 2 for the gradient of what was multiplied and 2 for that of the matrix: 6 in all (Kaplan et al.,
https://arxiv.org/abs/2001.08361, section 2.1). Products of activations with each other, as in attention, are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, prod

from paramlint.parameter import Inventory, Parameter
from paramlint.planned import Plan, PlannedGroup, Ref
from paramlint.profile import Profile

_STEPS = 5
_STEP_KEYS = ("ns_steps", "num_ns_steps")
#: Roles of what activations are multiplied with, for parameters that no trace saw.
_MAPS = frozenset(
    "hidden-matrix fused-matrix expert-stack conv-filter grouped-conv depthwise-conv output-head tied-embedding "
    "input-projection router low-rank-adapter row-matrix".split()
)


@dataclass(frozen=True)
class Matrices:
    """`count` matrices of a size, each orthogonalised alone."""

    count: int
    rows: int
    columns: int


def newton_schulz_flops(plan: Plan, inventory: Inventory, profile: Profile) -> int:
    """Operations of all Newton-Schulz iterations in one step of the optimizer; 0 where it runs none.

    Each matrix of a stack counts alone, filters as matrices of dimension 0 by the rest where they are flattened, and
    parts of a fused matrix alone where the plan splits it. Where the optimizer takes a `fraction` of the shorter side,
    that counts.
    """
    if "rank_fraction" in profile.defaults:  # a power iteration and a QR decomposition instead
        return 0
    parameters = {p.name: p for p in inventory.parameters}
    part = profile.defaults.get("fraction", 1.0)
    fraction = float(part) if isinstance(part, (int, float)) else 1.0
    total = 0
    for group in plan.groups:
        if group.kind.half != "muon":
            continue
        k = steps(plan, group, profile)
        for found in (m for name in group.parameters for m in matrices(parameters[name], group, profile)):
            short, long = sorted((found.rows, found.columns))
            m = ceil(fraction * short)
            total += k * found.count * (4 * long * m**2 + 2 * m**3)
    return total


def forward_backward_flops(inventory: Inventory, tokens: int) -> int:
    """Operations of a forward and a backward pass over so many tokens: 6 for each and each element of a matrix, 4 for
    a frozen one, which needs no gradient of its own.

    A lookup takes none; a tied embedding counts once, as the head. An expert counts for the tokens that it meets, where
    the model says how many experts a token is sent to (`met`), else as if it met all. A convolution counts as if it had
    as many output positions as there are tokens, and a matrix used several times as if it were used once.
    """
    share = met(inventory)
    used = [p for p in inventory.parameters if _multiplied(p)]
    return round(sum((6 if p.trainable else 4) * tokens * p.numel * share.get(p.name, 1.0) for p in used))


def share(plan: Plan, inventory: Inventory, profile: Profile, tokens_per_step: int) -> float:
    """What Newton-Schulz adds to a step, as a share of forward and backward over its tokens; 0 for a model without
    matrices.

    Raises:
        ValueError: a step has no tokens.
    """
    if tokens_per_step < 1:
        raise ValueError(f"{tokens_per_step} tokens per step")
    whole = forward_backward_flops(inventory, tokens_per_step)
    return newton_schulz_flops(plan, inventory, profile) / whole if whole else 0.0


def steps(plan: Plan, group: PlannedGroup, profile: Profile) -> int:
    """Newton-Schulz steps: of the group, of the plan's settings, of the optimizer's defaults, else 5."""
    settings = {s.name: s.default for s in plan.settings}
    options = {k: settings.get(v.setting) if isinstance(v, Ref) else v for k, v in group.kind.options.items()}
    for table in (options, settings, profile.muon_defaults, profile.defaults):
        for key in _STEP_KEYS:
            value = table.get(key)
            if isinstance(value, int):
                return value
    return _STEPS


def matrices(p: Parameter, group: PlannedGroup, profile: Profile) -> Iterator[Matrices]:
    """What the Muon half of an optimizer orthogonalises for a parameter of this group."""
    if p.ndim < 2 or not p.numel:
        return
    options = group.kind.options
    sizes, heads = options.get("split_sizes"), options.get("num_heads")
    if p.ndim == 2 and isinstance(sizes, tuple):
        for rows in sizes:
            if isinstance(rows, int):
                yield Matrices(1, rows, p.shape[1])
    elif p.ndim == 2 and isinstance(heads, int) and heads > 1:
        yield Matrices(heads, p.shape[0] // heads, p.shape[1])
    elif p.ndim > 2 and (options.get("flatten") is True or profile.ndim.get(str(min(p.ndim, 5))) == "flatten"):
        yield Matrices(1, p.shape[0], prod(p.shape[1:]))
    else:
        yield Matrices(prod(p.shape[:-2]), *p.shape[-2:])


def met(inventory: Inventory) -> dict[str, float]:
    """By the name of an expert's parameter, the share of tokens that it meets if a router spreads them evenly.

    Known for modules with an attribute `top_k`, and their experts: stacks inside them, or beside them, and lists of as
    many modules as the router beside the list has rows or columns.
    """
    found: dict[str, float] = {}
    for module in inventory.modules:
        chosen = module.sizes.get("top_k")
        if not isinstance(chosen, int) or isinstance(chosen, bool) or chosen < 1:
            continue
        for path in dict.fromkeys((module.path, module.path.rpartition(".")[0])):
            inside = dict(_experts(inventory, path))
            found.update({name: min(1.0, chosen / count) for name, count in inside.items()})
            if inside:
                break
    return found


def has_experts(inventory: Inventory) -> bool:
    """Whether tokens are routed at all, so that it matters how many experts each of them meets."""
    return any(p.role in ("router", "expert-stack") for p in inventory.parameters)


def _multiplied(p: Parameter) -> bool:
    return p.reach != "unused" and (any(u.is_map for u in p.uses) or p.role in _MAPS)


def _experts(inventory: Inventory, path: str) -> Iterator[tuple[str, int]]:
    """Names of experts' parameters inside a module, with the number of experts."""
    prefix = f"{path}." if path else ""
    inside = [p for p in inventory.parameters if p.name.startswith(prefix)]
    routers: Mapping[str, set[int]] = _routers(inside)
    lists: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for p in inside:
        if p.role == "expert-stack" and p.numel:
            yield p.name, p.shape[0]
            continue
        words = p.name.split(".")
        for i in range(1, len(words) - 1):
            if words[i].isdecimal():
                lists[".".join(words[:i])][words[i]].append(p.name)
    for container, entries in lists.items():
        if len(entries) in routers.get(container.rpartition(".")[0], ()):
            for name in (name for names in entries.values() for name in names):
                yield name, len(entries)


def _routers(parameters: list[Parameter]) -> dict[str, set[int]]:
    """The sizes of routers, by the module that has the router, or whose own parameter it is."""
    sizes: dict[str, set[int]] = defaultdict(set)
    for p in parameters:
        if p.role == "router":
            module = p.name.rpartition(".")[0]
            for path in (module, module.rpartition(".")[0]):
                sizes[path].update(p.shape)
    return sizes
