"""What a smoke script knows of the plan and of its optimizer: constants, shapes, bands, what has to be there first."""

from __future__ import annotations

from paramlint.codegen.text import docstring, enclosed, literal
from paramlint.parameter import Inventory
from paramlint.planned import Plan
from paramlint.planning.state import plan_memory
from paramlint.profile import LrScale, Profile

#: Optimizers whose constructor makes buffers on CUDA, whatever the parameters are on.
_CUDA_ONLY = ("muon-2024", "adamuon")

#: What a Muon half holds whose update is orthogonalised momentum and nothing more.
_MOMENTUM_ALONE = (("full",), ("float32",), ("bfloat16",))

#: The factor on lr, as the profiles define it (`paramlint.profile.Profile.lr_scale`).
_SCALES: dict[LrScale, tuple[str, str]] = {
    "kj": ("sqrt(max(1, rows / columns))", "math.sqrt(max(1.0, rows / columns))"),
    "rms": ("0.2 sqrt(max(rows, columns))", "0.2 * math.sqrt(max(rows, columns))"),
    "spectral": ("sqrt(rows / columns)", "math.sqrt(rows / columns)"),
    "sqrt-max": ("sqrt(max(rows, columns))", "math.sqrt(max(rows, columns))"),
    "none": ("1", "1.0"),
}


def constants(plan: Plan, inventory: Inventory) -> str:
    """Where the script lies, and the parameters that no pass of the trace read."""
    reach = {p.name: p.reach for p in inventory.parameters}
    unused = [name for name in plan.trainable if reach.get(name) in ("unused", "unreached")]
    names = enclosed("UNUSED: tuple[str, ...] = (", map(literal, unused), ",)" if len(unused) == 1 else ")")
    return (
        "HERE = Path(__file__).resolve().parent\n\n"
        "# Trained parameters that the forward does not read: they may go without gradient.\n"
        f"{names}"
    )


def shape_functions(plan: Plan, inventory: Inventory, profile: Profile) -> list[str]:
    """`scales(p)`, and `matrices(p)` where some are flattened: where the update of a Muon half follows from shapes."""
    if not _muon(plan) or not _orthogonal(plan, profile):
        return []
    flat = _flattened(plan, inventory, profile)
    formula, code = _SCALES[_scale(plan, profile)]
    about = docstring(f"What lr is multiplied by: {formula}.", indent=4)
    if not flat:
        lines = ["def scale(p: Tensor) -> float:", about, "rows, columns = p.shape[-2:]", f"return {code}"]
        return ["\n    ".join(lines if "rows" in code else [*lines[:2], lines[3]])]
    which = f"p.ndim == {flat[0]}" if len(flat) == 1 else f"p.ndim in {literal(tuple(flat))}"
    matrices = [
        "def matrices(p: Tensor) -> Tensor:",
        docstring("The matrix, or the stack of matrices, that is orthogonalised.", indent=4),
        f"return p.flatten(1) if {which} else p",
    ]
    scales = [
        "def scales(p: Tensor) -> list[float]:",
        about,
        "# Of a filter some optimizers take rows and columns from the kernel.",
        "shapes = [matrices(p).shape[-2:], p.shape[-2:]]",
        f"return [{code} for rows, columns in shapes]",
    ]
    return ["\n    ".join(matrices), "\n    ".join(scales)]


def _flattened(plan: Plan, inventory: Inventory, profile: Profile) -> list[int]:
    """Numbers of dimensions of parameters in the Muon half that are flattened from the second on."""
    inside = [p for p in inventory.parameters if p.trainable and plan.labels[p.name] in _muon(plan) and p.ndim > 2]
    return sorted({p.ndim for p in inside if profile.ndim.get(str(min(p.ndim, 5))) != "batch"})


def updates(plan: Plan, inventory: Inventory, profile: Profile) -> str:
    """`band`, `check_updates`, and where updates are orthogonal `check_singular_values`."""
    muon = _muon(plan) if _orthogonal(plan, profile) else []
    # plain SGD and optimizers of norms have no such number; with two moments, the first step is a sign
    adam = profile.call_shape != "norm-per-group" and len(profile.state.get("adam", ())) >= 2
    lines = [docstring("The least and the largest RMS of a first update, over lr.", indent=4)]
    flat = _flattened(plan, inventory, profile)
    least, most, matrix = ("min(scales(p))", "max(scales(p))", "matrices(p)") if flat else (*["scale(p)"] * 2, "p")
    if muon:
        lines += [
            f"if {_is(muon)}:  # singular values around 1, times the scale",
            f"    root = math.sqrt(max({matrix}.shape[-2:]))",
            f"    return 0.6 * {least} / root, 1.3 * {most} / root",
        ]
    elif adam and _muon(plan):
        lines += [f"if {_is(_muon(plan))}:", "    return 0.0, math.inf  # shapes do not tell it"]
    lines += ["return 0.6, 1.3  # Adam's first step is a sign" if adam else "return 0.0, math.inf"]
    band = "\n".join(["def band(kind: str, p: Tensor) -> tuple[float, float]:", *(f"    {x}" for x in lines)])
    singular = []
    if muon:
        singular = [_SINGULAR.replace("@least", least).replace("@most", most).replace("@matrix", matrix)]
    expected = _EXPECTED if adam and (muon or not _muon(plan)) else _SOME_EXPECTED
    checked = _UPDATES.replace("@expected", expected) + (_SAMPLED.replace("@muon", _is(muon)) if muon else "")
    return "\n\n\n".join(part.strip("\n") for part in [band, *singular, checked])


def state(plan: Plan, inventory: Inventory, profile: Profile) -> str:
    """The rest of `check_state`."""
    planned = plan_memory(plan, inventory, profile).state
    if planned is None:
        return '    check("state", True, f"{size:,} bytes")\n'
    return (
        f"    planned = {planned}  # for the model as build_model makes it\n"
        "    good = abs(size - planned) <= 0.05 * planned\n"
        '    check("state", good, f"{size:,} bytes, {planned:,} planned")\n'
    )


def decay(profile: Profile) -> str:
    """The expression for the weight decay of `group`."""
    if profile.decay_key == "weight_decay":
        return 'group.get("weight_decay", 0.0)'
    return f'group.get("{profile.decay_key}", 0.0)'


def before(profile: Profile) -> str:
    """Statements of `main` before the run."""
    lines: list[str] = []
    if profile.name in _CUDA_ONLY:
        lines += [
            'if name != "cuda":',
            f'    parser.error("{profile.name} keeps its buffers on CUDA: run this on a GPU")',
        ]
    if profile.process_group:
        lines += [
            "# The optimizer talks to its process group, even of one process.",
            'backend, here = "nccl" if name == "cuda" else "gloo", "tcp://127.0.0.1:0"',
            "distributed.init_process_group(backend, here, rank=0, world_size=1)",
        ]
    return "".join(f"    {line}\n" for line in lines)


def after(profile: Profile) -> str:
    """Statements of `main` after the run, whatever came of it."""
    if not profile.process_group:
        return ""
    return "    finally:\n        distributed.destroy_process_group()\n"


def _muon(plan: Plan) -> list[str]:
    return [k.label for k in plan.kinds if k.half == "muon"]


def _orthogonal(plan: Plan, profile: Profile) -> bool:
    """Whether the update is the orthogonalised matrix times the lr scale: of all rows, and of the matrix as a whole."""
    apart = any(key in k.options for k in plan.kinds for key in profile.fused_split)
    alone = profile.state.get("muon") in _MOMENTUM_ALONE and profile.defaults.get("fraction", 1) == 1
    return alone and not apart and profile.call_shape != "norm-per-group"


def _scale(plan: Plan, profile: Profile) -> LrScale:
    """The lr scale in force: that of the mode which the groups choose, or else the default."""
    key = profile.lr_scale_key
    modes = [k.options[key] for k in plan.kinds if k.half == "muon" and key in k.options] if key else []
    default = profile.lr_scale.get("default", "none")
    return profile.lr_scale.get(str(modes[0]).lower(), default) if modes else default


def _is(labels: list[str]) -> str:
    return f"kind == {literal(labels[0])}" if len(labels) == 1 else f"kind in {literal(tuple(labels))}"


_SINGULAR = '''
def check_singular_values(name: str, p: Tensor) -> None:
    """Those of an orthogonalised matrix, slice by slice: around 1, times the scale."""
    values = torch.linalg.svdvals(@matrix.cpu())
    low, high = values.min().item(), values.max().item()
    middle = values.median().item()
    good = middle >= 0.5 * @least and high <= 1.4 * @most
    figure = f"{low:.2f} to {high:.2f}, median {middle:.2f}, scale {@most:.2f}"
    check(f"singular values of {name}", good, figure)
'''

_UPDATES = '''
def check_updates(model: nn.Module, moved: Updates) -> None:
    """The first updates of each kind against what lr and shapes say of them."""
    kinds = groups.kinds_of(model)
    for kind in dict.fromkeys(kinds[n] for n in moved):
        own = {n: m for n, m in moved.items() if kinds[n] == kind}
        rms = {n: lr * u.square().mean().sqrt().item() for n, (u, lr) in own.items()}
        low = {n: lr * band(kind, u)[0] for n, (u, lr) in own.items()}
        high = {n: lr * band(kind, u)[1] for n, (u, lr) in own.items()}
        wrong = [n for n in own if not low[n] <= rms[n] <= high[n]]
        figure = f"rms {min(rms.values()):.1e} to {max(rms.values()):.1e}"
@expected
        check(f"updates of {kind}", not wrong, figure + but(wrong))
'''

_EXPECTED = """\
        figure += f", expected {min(low.values()):.1e} to {max(high.values()):.1e}"
""".rstrip()
_SOME_EXPECTED = """\
        if math.isfinite(max(high.values())):
            figure += f", expected {min(low.values()):.1e} to {max(high.values()):.1e}"
""".rstrip()

_SAMPLED = """
        if @muon:
            sample = min(own, key=lambda n: own[n][0].numel())
            check_singular_values(sample, own[sample][0])
""".lstrip("\n")
