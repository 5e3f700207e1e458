"""A stand-alone script beside a generated module: one real step of the model with `build_optimizer`, and its checks.

The script needs torch, what the generated module imports, and the model's own code. What belongs to a model and an
optimizer is written into it as constants and short functions (`smoke_parts`); the rest is the same in every script.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from paramlint import __version__
from paramlint.codegen.smoke_inputs import inputs_function
from paramlint.codegen.smoke_model import model_function
from paramlint.codegen.smoke_parts import constants, group_setup, shape_functions
from paramlint.codegen.text import docstring
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
    passes = _passes(inventory)
    setup, teardown = group_setup(profile)
    about = [
        f"One forward, backward and step of {plan.model.rpartition('.')[2]} with {module_name}.py, checked.",
        f"Written by paramlint {__version__} for {target}. Needs torch, the model's own code and what {module_name}.py "
        "imports. Edit `build_model` and `inputs` to try another model or batch.",
        f"Run: python {module_name}_smoke.py [--device cpu]; exit status 1 if a check fails.",
    ]
    head = [
        docstring(about[0], *about[1:]),
        _IMPORTS if not profile.process_group else _IMPORTS.replace("import nn,", "import distributed, nn,"),
        constants(plan, inventory, profile),
    ]
    functions = [
        model_function(target, kwargs, inventory.model, folder),
        inputs_function(passes),
        *shape_functions(plan, profile),
        _LOAD.replace("@module", module_name).replace("@mode", _mode(passes)),
        _MEASURES,
        _CHECKS,
        _MAIN.replace("@setup", setup).replace("@teardown", teardown),
    ]
    return "\n\n".join(part.strip("\n") for part in head) + "\n\n\n" + "\n\n\n".join(f.strip("\n") for f in functions)


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


_IMPORTS = """
from __future__ import annotations

import argparse
import copy
import importlib.util
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim
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


groups = load(HERE / "@module.py")


def build_optimizers(model: nn.Module) -> list[optim.Optimizer]:
    made = groups.build_optimizer(model)
    return list(made) if isinstance(made, (list, tuple)) else [made]


def loss_of(model: nn.Module, device: torch.device) -> Tensor:
    """How far every floating output is from noise."""
    @mode
    found: list[Tensor] = []
    for batch in inputs(device):
        found += floating(model(*batch["args"], **batch["kwargs"]))
    noise = [torch.randn_like(t, dtype=torch.float32) for t in found]
    return torch.stack([(t - n).square().mean() for t, n in zip(found, noise)]).sum()


def floating(out: Any) -> list[Tensor]:
    """The tensors of floating point in an output, whatever holds them."""
    if isinstance(out, Tensor):
        return [out] if out.is_floating_point() and out.requires_grad else []
    if hasattr(out, "values"):
        out = list(out.values())
    if not isinstance(out, (list, tuple)):
        out = list(vars(out).values()) if hasattr(out, "__dict__") else []
    return [t for each in out for t in floating(each)]
'''

_MEASURES = '''
FAILED: list[str] = []


def check(name: str, good: bool, figure: str) -> None:
    print(f"{'ok  ' if good else 'FAIL'} {name}: {figure}", flush=True)
    if not good:
        FAILED.append(name)


def some(names: Iterable[str]) -> str:
    first, *rest = list(names) or ["none"]
    return ", ".join([first, *rest[:4]]) + (f" and {len(rest) - 4} more" * (len(rest) > 4))


def stirred(model: nn.Module) -> dict[str, Tensor]:
    """The gradients under as much noise.

    Those of a small batch have a low rank, and some are zero at the start; no optimizer
    shows on them what it does in training.
    """
    found: dict[str, Tensor] = {}
    for name, p in model.named_parameters():
        if p.grad is not None:
            size = p.grad.square().mean().sqrt().clamp_min(1e-3)
            found[name] = p.grad + size * torch.randn_like(p.grad)
    return found


def step(
    model: nn.Module, optimizers: list[optim.Optimizer], grads: dict[str, Tensor]
) -> None:
    """One step on these gradients, which an optimizer may write into."""
    for name, p in model.named_parameters():
        p.grad = grads[name].clone() if name in grads else None
    for optimizer in optimizers:
        optimizer.step()
    optimizers[0].zero_grad()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def state_bytes(optimizers: list[optim.Optimizer]) -> int:
    held = [v for o in optimizers for s in o.state.values() for v in s.values()]
    return sum(t.numel() * t.element_size() for t in held if isinstance(t, Tensor))
'''

_CHECKS = ""

_MAIN = ""
