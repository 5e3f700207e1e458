"""A stand-alone script beside a generated module: one real step of the model with `build_optimizer`, and its checks.

The script needs torch, what the generated module imports, and the model's own code. What belongs to a model and an
optimizer is written into it as constants and short functions (`smoke_parts`); the rest is the same in every script.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from paramlint import __version__
from paramlint.codegen.emit.package import class_path, remarks
from paramlint.codegen.smoke_groups import check_groups, check_rates, planned
from paramlint.codegen.smoke_inputs import inputs_function, outputs
from paramlint.codegen.smoke_model import model_function
from paramlint.codegen.smoke_parts import after, before, constants, decay, shape_functions, state, updates
from paramlint.codegen.text import docstring, enclosed, literal
from paramlint.errors import ParamlintError
from paramlint.parameter import Inventory, Pass, Plain
from paramlint.planned import Plan
from paramlint.profile import Profile


def smoke_script(
    plan: Plan,
    inventory: Inventory,
    target: str,
    kwargs: Mapping[str, Plain],
    module_name: str,
    *,
    profile: Profile,
    folder: Path,
) -> str:
    """The text of the script. The same plan gives the same bytes.

    Args:
        plan: that of the generated module.
        inventory: that of the plan, with the passes of its trace.
        target: what the user named, relative to the current folder where it is a file.
        kwargs: what the model is built with.
        module_name: of the generated module, the stem of its file; the script is to lie beside it.
        profile: that of the plan.
        folder: where both files will be.

    Raises:
        ParamlintError: no inputs are known on which the forward comes to its end, or the optimizer only works inside a
            framework of its own.
    """
    if profile.call_shape == "attribute":
        raise ParamlintError(
            f"no smoke script can be written for {profile.name}: it steps only inside its own framework",
            hint="leave --smoke out",
        )
    passes, rates = _passes(inventory), check_rates(plan, profile)
    about = [
        f"One forward, backward and step of {plan.model.rpartition('.')[2]} with {module_name}.py, checked.",
        f"Written by paramlint {__version__} for {target}. Needs torch, the model's own code and what {module_name}.py "
        "imports. Edit `build_model` and `inputs` to try another model or batch.",
        f"Run: python {module_name}_smoke.py [--device cpu]; exit status 1 if a check fails.",
    ]
    body = [
        model_function(target, kwargs, inventory.model, folder),
        inputs_function(passes),
        *shape_functions(plan, inventory, profile),
        _LOAD.replace("@load\n", _loaded(profile)),
        _MEASURES,
        *check_groups(plan, inventory, profile),
        *rates,
        _CHECKS,
        _MAIN,
    ]
    text = "\n\n\n".join(part.strip("\n") for part in body)
    fillings = {
        "@module": module_name,
        "@mode": _mode(passes),
        "@outputs": outputs(passes),
        "@decay": decay(profile),
        "@updates": updates(plan, inventory, profile),
        "@state\n": state(plan, inventory, profile),
        "    @rates\n": "    check_rates(model, optimizers)\n" if rates else "",
        "    @before\n": before(profile),
        "    @after\n": after(profile),
    }
    for mark, filling in fillings.items():
        text = text.replace(mark, filling)
    imports = _IMPORTS.replace("@math\n", "import math\n" if "math." in text else "")
    if profile.process_group:
        imports = imports.replace("nn, optim", "distributed, nn, optim")
    head = [docstring(about[0], *about[1:]), imports, constants(plan, inventory), planned(plan, inventory, profile)]
    return "\n\n".join(part.strip("\n") for part in head) + f"\n\n\n{text}\n"


def _passes(inventory: Inventory) -> list[Pass]:
    """The passes over the whole model that together read what was read."""
    done = [p for p in inventory.passes if p.given and not p.stopped and not p.part]
    if not done:
        raise ParamlintError(
            "no inputs are known on which the forward comes to its end, so no smoke script can be written",
            hint="--inputs OBJ gives them; --smoke needs the trace",
        )
    return [p for p in done if p.new] or done[:1]


def _mode(passes: list[Pass]) -> str:
    if any(p.training for p in passes):
        return "model.train()"
    return "model.eval()  # as it was traced: no dropout"


def _loaded(profile: Profile) -> str:
    """The statement that loads the generated module; without the package of its optimizer, one line says so."""
    module, _, _ = class_path(profile).rpartition(".")
    if module.startswith("torch."):
        return _GROUPS
    how = profile.install
    if how is None:
        how = next(r.splitlines()[-1] for r in remarks(profile) if "is in no package" in r)
        how = f"copy {module.replace('.', '/')}.py from {how}"
    needed = enclosed("NEEDED = (", map(literal, how.rsplit(" ", 1)), ")", broken=True)
    return _GROUPS_OR_HOW.format(top=module.partition(".")[0], needed=needed)


_IMPORTS = """
from __future__ import annotations

import argparse
import copy
import importlib.util
import logging
@math
import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

Tensors = dict[str, Tensor]
Updates = dict[str, tuple[Tensor, float]]
Optimizers = list[optim.Optimizer]
Places = dict[int, tuple[optim.Optimizer, dict[str, Any]]]
"""

_GROUPS = """\
groups = load(HERE / "@module.py")
"""
_GROUPS_OR_HOW = """\
# Where the optimizer comes from.
{needed}

try:
    groups = load(HERE / "@module.py")
except ImportError as error:
    if (error.name or "").partition(".")[0] != "{top}":
        raise
    print(f"{{error}}:", *NEEDED, file=sys.stderr)
    sys.exit(2)
"""

_LOAD = '''
def load(path: Path) -> Any:
    """The module of a file; what lies beside it can be imported."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(f"smoke_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@load


def build_optimizers(model: nn.Module) -> Optimizers:
    made = groups.build_optimizer(model)
    return list(made) if isinstance(made, (list, tuple)) else [made]


def loss_of(model: nn.Module, device: torch.device) -> Tensor:
    """How far the outputs are from noise: all that a gradient flows back from."""
    @mode
    out = held_in(@outputs)
    number = [t.is_floating_point() or t.is_complex() for t in out]
    found = [real(t) for t, n in zip(out, number) if n and t.requires_grad]
    parts = [(t - torch.randn_like(t)).square().mean() for t in found]
    return torch.stack(parts).sum()


def real(t: Tensor) -> Tensor:
    """In float32; of complex numbers both parts, as Adam takes them."""
    if t.is_complex():
        t = torch.view_as_real(t.resolve_conj())
    return t.float()


def held_in(thing: Any) -> list[Tensor]:
    """All tensors in an output or a state, whatever holds them."""
    if isinstance(thing, Tensor):
        return [thing]
    if hasattr(thing, "values"):
        thing = list(thing.values())
    elif hasattr(thing, "__dict__"):
        thing = list(vars(thing).values())
    inside = thing if isinstance(thing, (list, tuple)) else []
    return [t for each in inside for t in held_in(each)]
'''

_MEASURES = '''
FAILED: list[str] = []


def check(name: str, good: bool, figure: str) -> bool:
    print(f"{'ok  ' if good else 'FAIL'} {name}: {figure}", flush=True)
    if not good:
        FAILED.append(name)
    return good


def but(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"; not {', '.join(names[:5])}{more}" if names else ""


def stirred(model: nn.Module) -> Tensors:
    """The gradients under as much noise: some are zero at first, or of low rank."""
    found: Tensors = {}
    for name, p in model.named_parameters():
        if p.grad is not None:
            size = p.grad.abs().square().mean().sqrt().clamp_min(1e-3)
            found[name] = p.grad + size * torch.randn_like(p.grad)
    return found


def step(model: nn.Module, optimizers: Optimizers, grads: Tensors) -> None:
    torch.manual_seed(1)  # some optimizers round at random
    for name, p in model.named_parameters():  # copies: some optimizers write into them
        p.grad = grads[name].clone() if name in grads else None
    for optimizer in optimizers:
        optimizer.step()


def weights(model: nn.Module) -> Tensors:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def places(optimizers: Optimizers) -> Places:
    """The optimizer and the group of each parameter, by its id."""
    every = [(o, g) for o in optimizers for g in o.param_groups]
    return {id(p): (o, g) for o, g in every for p in g["params"]}


def updates(model: nn.Module, optimizers: Optimizers, before: Tensors) -> Updates:
    """What a step took from each parameter, over lr and without weight decay; and lr.

    Parameters in 16 bits are left out: rounding hides it.
    """
    held = places(optimizers)
    found: Updates = {}
    for name, p in model.named_parameters():
        if name in before and id(p) in held and p.element_size() >= 4:
            group, old = held[id(p)][1], real(before[name])
            lr, decay = float(group["lr"]), float(@decay)
            taken = old - real(p.detach()) - lr * decay * old
            found[name] = taken / (lr or 1.0), lr
    return found
'''

_CHECKS = '''
def check_gradients(model: nn.Module) -> bool:
    """Whether all of them are numbers: nothing can be said of updates by others."""
    trained = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    grads = {n: g for n, g in trained.items() if g is not None}
    missing = [n for n in trained if n not in grads and n not in UNUSED]
    expected = len(trained) - len(grads) - len(missing)
    figure = f"{len(grads)} of {len(trained)} trained parameters have one"
    figure += f", {expected} are unused" if expected else ""
    check("gradients", not missing, figure + but(missing))
    broken = [n for n, g in grads.items() if not g.isfinite().all()]
    return check("finite gradients", not broken, "all" + but(broken))


def check_moved(model: nn.Module, before: Tensors, grads: Tensors) -> bool:
    """Whether all weights are numbers afterwards."""
    named = dict(model.named_parameters())
    still = {n for n, p in named.items() if torch.equal(p.detach(), before[n])}
    left = [n for n in grads if n in still]
    figure = f"{len(grads) - len(left)} of {len(grads)} trained parameters"
    check("moved", not left, figure + but(left))
    if frozen := [n for n, p in named.items() if not p.requires_grad]:
        moved = [n for n in frozen if n not in still]
        figure = f"{len(frozen) - len(moved)} of {len(frozen)} frozen parameters"
        check("still", not moved, figure + but(moved))
    broken = [n for n, p in named.items() if not p.isfinite().all()]
    return check("finite weights", not broken, "all" + but(broken))


@updates


def check_state(optimizers: Optimizers) -> None:
    tensors = [t for o in optimizers for s in o.state.values() for t in held_in(s)]
    size = sum(t.numel() * t.element_size() for t in tensors)
@state


def check_resume(model: nn.Module, optimizers: Optimizers, grads: Tensors) -> None:
    """Whether fresh optimizers go on from a state_dict as these do."""
    start = weights(model)
    saved = copy.deepcopy([o.state_dict() for o in optimizers])
    step(model, optimizers, grads)
    wanted = weights(model)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(start[name])
    fresh = build_optimizers(model)
    for optimizer, state in zip(fresh, saved):
        optimizer.load_state_dict(state)
    step(model, fresh, grads)
    named = model.named_parameters()
    other = [n for n, p in named if not torch.allclose(p, wanted[n], rtol=1e-5)]
    check("resume", not other, "the same step from a saved state" + but(other))
'''

_MAIN = """
def run(device: torch.device) -> None:
    torch.manual_seed(0)
    model = build_model().to(device)
    optimizers = build_optimizers(model)
    check_groups(model, optimizers)
    @rates
    loss = loss_of(model, device)
    check("loss", bool(loss.isfinite()), f"{loss.item():.4g}")
    torch.autograd.backward([loss])
    if not check_gradients(model):
        return
    first, second = stirred(model), stirred(model)
    before = weights(model)
    step(model, optimizers, first)
    if not check_moved(model, before, first):
        return
    trained = {name: before[name] for name in first}
    check_updates(model, updates(model, optimizers, trained))
    check_state(optimizers)
    check_resume(model, optimizers, second)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    devices = ("auto", "cpu", "cuda", "mps")
    parser.add_argument("--device", choices=devices, default="auto")
    name = parser.parse_args().device
    if name == "auto":
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else mps
    @before
    try:
        run(torch.device(name))
    except Exception as error:
        logging.getLogger("smoke").exception("stopped")
        check("run", False, f"{type(error).__name__}: {error}")
    @after
    print(f"{len(FAILED)} checks failed on {name}" if FAILED else f"all ok on {name}")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
"""
