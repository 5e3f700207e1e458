"""Time and memory that a trace takes over the model, for stacks of growing depth and for Llama 3 8B.

    python benchmarks/trace.py                        # 100 to 100,000 parameters, and Llama where transformers is there
    python benchmarks/trace.py --sizes 100 1000       # some of them
    python benchmarks/trace.py --profile 10000        # where the time of one goes

Every row is measured in a process of its own, on one thread: seconds of the trace alone (of wall clock and of the
processor, the imports that torch makes when it first needs them included), milliseconds for each parameter, and the
highest resident memory of the process less what it was with the model built. The models are on the meta device.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

LLAMA = "Llama 3 8B"


def stack(parameters: int) -> tuple[Any, Any]:
    """A language model of about so many parameters in blocks of twelve, and what it takes."""
    import torch
    from torch import nn
    from torch.nn import functional

    width = 64

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            batch, length, _ = x.shape
            q, k, v = self.qkv(self.first(x)).view(batch, length, 3, 4, -1).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
            return x + self.down(functional.gelu(self.up(self.second(x))))

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(1000, width), nn.Linear(width, 1000)
            self.blocks = nn.ModuleList(Block() for _ in range(max(1, (parameters - 3) // 12)))

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.table(ids)
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    with torch.device("meta"):
        return Stack(), torch.ones(1, 16, dtype=torch.long)


def llama() -> tuple[Any, Any]:
    """The full configuration of Llama 3 8B."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        intermediate_size=14336,
        vocab_size=128256,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config), None


def measured(which: str, profile: bool = False) -> dict[str, Any]:
    """One row, in this process."""
    import torch

    import paramlint
    from paramlint.model import torchvision_ops
    from paramlint.model.facts import inventory
    from paramlint.model.trace.found import traced

    torch.set_num_threads(1)
    torchvision_ops.install()
    model, inputs = llama() if which == LLAMA else stack(int(which))
    facts = inventory(model)
    before, began, worked = _peak(), time.perf_counter(), time.process_time()
    if profile:
        import cProfile

        cProfile.runctx("traced(model, facts, inputs, 600.0)", globals(), locals(), sort="tottime")
        return {}
    found = traced(model, facts, inputs, 600.0)
    row = {
        "model": which,
        "parameters": len(found.parameters),
        "read": sum(p.reach == "read" for p in found.parameters),
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - worked,
        "megabytes": (_peak() - before) / 1024,
        "stopped": found.passes[0].stopped,
        "version": paramlint.__version__,
    }
    return row


def _peak() -> int:
    """Kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--no-llama", action="store_true", help="leave Llama out")
    parser.add_argument("--profile", metavar="SIZE", help="print a profile of one size, or of 'llama', instead")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.profile:
        measured(LLAMA if options.profile == "llama" else options.profile, profile=True)
        return
    if options.one:
        print(json.dumps(measured(options.one)))
        return
    rows = [str(s) for s in options.sizes]
    if find_spec("transformers") is not None and not options.no_llama:
        rows.append(LLAMA)
    print(f"{'model':>12} {'parameters':>10} {'read':>8} {'wall s':>8} {'cpu s':>8} {'ms each':>8} {'MB':>8}")
    for which in rows:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, __file__, "--one", which]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        each = 1000 * row["processor"] / row["parameters"]
        print(
            f"{which:>12} {row['parameters']:>10,} {row['read']:>8,} {row['seconds']:>8.2f} {row['processor']:>8.2f} "
            f"{each:>8.3f} {row['megabytes']:>8.0f} {row['stopped']}".rstrip()
        )


if __name__ == "__main__":
    main()
