"""Every form of group-building code: what is read of it, over a model, is what it does when it is run on that model."""

from __future__ import annotations

import ast
import textwrap

import pytest
import torch
from torch import nn

import paramlint
from paramlint import knowledge
from paramlint.checks import scripts
from paramlint.source.proposed import proposals

KNOWN = knowledge.load()


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24, bias=False)
        self.proj = nn.Linear(8, 8)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(8)
        self.attn = Attention()
        self.norm2 = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok_emb = nn.Embedding(100, 8)
        self.pos_emb = nn.Parameter(torch.zeros(1, 16, 8))
        self.conv = nn.Conv1d(8, 8, 3)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.ln_f = nn.LayerNorm(8)
        self.lm_head = nn.Linear(8, 100, bias=False)
        self.blocks[0].attn.proj.bias.requires_grad_(False)


#: Bodies of `groups(model)`; what comes of them are lists of parameters by name, or param groups.
FORMS = {
    "if-else in a loop": """
        muon, adamw = [], []
        for n, p in model.named_parameters():
            if p.ndim >= 2 and "emb" not in n and "head" not in n:
                muon.append(p)
            else:
                adamw.append(p)
        return [{"params": muon, "use_muon": True}, {"params": adamw, "use_muon": False}]
    """,
    "elif and continue": """
        matrices, vectors, rest = [], [], []
        for name, param in model.named_parameters():
            if not param.requires_grad:
                continue
            if name.startswith("lm_head.") or name == "tok_emb.weight":
                rest.append(param)
            elif param.dim() == 2:
                matrices.append(param)
            elif len(param.shape) < 2:
                vectors.append(param)
            else:
                rest.append(param)
        return [{"params": matrices}, {"params": vectors}, {"params": rest}]
    """,
    "complementary comprehensions": """
        no_decay = ["bias", "norm"]
        return [
            {"params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)]},
            {"params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)], "lr": 0.1},
        ]
    """,
    "constants of the module": """
        heads = [p for n, p in model.named_parameters() if n.endswith(SUFFIXES)]
        rest = [p for n, p in model.named_parameters() if not n.endswith(SUFFIXES)]
        return [{"params": heads}, {"params": rest}]
    """,
    "a dict by name, filtered": """
        named = {n: p for n, p in model.named_parameters()}
        named = {n: p for n, p in named.items() if p.requires_grad}
        decay = [p for n, p in named.items() if p.dim() >= 2]
        other = [p for n, p in named.items() if p.dim() < 2]
        return [{"params": decay, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
    """,
    "sets of names, as minGPT": """
        decay, no_decay = set(), set()
        for mn, m in model.named_modules():
            for pn, p in m.named_parameters():
                fpn = "%s.%s" % (mn, pn) if mn else pn
                if pn.endswith("bias"):
                    no_decay.add(fpn)
                elif pn.endswith("weight") and isinstance(m, (nn.Linear, nn.Conv1d)):
                    decay.add(fpn)
                elif pn.endswith("weight") and isinstance(m, (nn.LayerNorm, nn.Embedding)):
                    no_decay.add(fpn)
        no_decay.add("pos_emb")
        named = {pn: p for pn, p in model.named_parameters()}
        return [
            {"params": [named[pn] for pn in sorted(list(decay))], "weight_decay": 0.1},
            {"params": [named[pn] for pn in sorted(list(no_decay))], "weight_decay": 0.0},
        ]
    """,
    "identities": """
        skip = {id(model.tok_emb.weight), id(model.lm_head.weight)}
        muon = [p for p in model.blocks.parameters() if p.ndim == 2 and id(p) not in skip]
        taken = {id(p) for p in muon}
        return [{"params": muon}, {"params": [p for p in model.parameters() if id(p) not in taken]}]
    """,
    "attributes and lists joined": """
        hidden = [p for p in model.blocks.parameters() if p.ndim >= 2]
        gains = [p for p in model.blocks.parameters() if p.ndim < 2]
        others = [*model.ln_f.parameters(), model.pos_emb] + list(model.conv.parameters())
        ends = [model.tok_emb.weight, model.lm_head.weight]
        return [dict(params=hidden, lr=0.02), dict(params=gains + others + ends, lr=3e-4)]
    """,
    "a loop over submodules": """
        a, b = [], []
        for block in model.blocks:
            for p in block.attn.parameters():
                a.append(p)
            b.extend(block.mlp.parameters())
        b += [model.blocks[0].norm1.weight, model.blocks[-1].norm2.bias]
        return [{"params": a}, {"params": b}]
    """,
    "a walk with types": """
        norms, biases, weights = [], [], []
        for m in model.modules():
            for name, p in m.named_parameters(recurse=False):
                if name == "bias":
                    biases.append(p)
                elif isinstance(m, nn.LayerNorm):
                    norms.append(p)
                else:
                    weights.append(p)
        return [{"params": norms}, {"params": biases}, {"params": weights}]
    """,
    "a recursive walk": """
        found = {"norm": [], "other": []}

        def walk(module):
            for p in module.parameters(recurse=False):
                found["norm" if isinstance(module, nn.LayerNorm) else "other"].append(p)
            for child in module.children():
                walk(child)

        walk(model)
        return [{"params": found["norm"]}, {"params": found["other"]}]
    """,
    "a helper": """
        def is_hidden(name, p):
            if p.ndim < 2:
                return False
            for needle in ("emb", "head"):
                if needle in name:
                    return False
            return True

        muon = [p for n, p in model.named_parameters() if is_hidden(n, p)]
        rest = [p for n, p in model.named_parameters() if not is_hidden(n, p)]
        return [{"params": muon}, {"params": rest}]
    """,
    "a predicate that is passed on": """
        exclude = lambda n, p: p.ndim < 2 or "norm" in n
        include = lambda n, p: not exclude(n, p)
        named = list(model.named_parameters())
        return [
            {"params": [p for n, p in named if exclude(n, p)]},
            {"params": [p for n, p in named if include(n, p)]},
        ]
    """,
    "filter": """
        trained = list(filter(lambda p: p.requires_grad, model.parameters()))
        return [{"params": [p for p in trained if p.ndim > 1]}, {"params": [p for p in trained if not p.ndim > 1]}]
    """,
    "flags": """
        muon, rest = [], []
        for n, p in model.named_parameters():
            is_head = n.startswith("lm_head")
            is_embedding = "emb" in n.lower()
            is_matrix = p.dim() == 2
            if is_matrix and not (is_head or is_embedding):
                muon.append(p)
            else:
                rest.append(p)
        return [{"params": muon}, {"params": rest}]
    """,
    "conditional append": """
        decay, plain = [], []
        for n, p in model.named_parameters():
            (plain if p.ndim == 1 or n.endswith(".bias") else decay).append(p)
        return [{"params": decay}, {"params": plain}]
    """,
    "keyed by layer": """
        groups = {}
        for n, p in model.named_parameters():
            if not p.requires_grad:
                continue
            layer = layer_of(n, 3)
            key = "layer_%d_%s" % (layer, "no_decay" if p.ndim == 1 else "decay")
            if key not in groups:
                decay = 0.0 if p.ndim == 1 else 0.05
                groups[key] = {"params": [], "weight_decay": decay, "lr_scale": 0.5 ** (4 - layer)}
            groups[key]["params"].append(p)
        return list(groups.values())
    """,
    "a defaultdict": """
        groups = defaultdict(lambda: {"params": []})
        for n, p in model.named_parameters():
            lr = 0.1 if "blocks" in n else 0.2
            groups[lr]["params"].append(p)
            groups[lr]["lr"] = lr
        return [g for g in groups.values()]
    """,
    "a defaultdict of lists": """
        lists = defaultdict(list)
        for n, p in model.named_parameters():
            lists[p.ndim].append(p)
        return [{"params": ps, "lr": 0.1 * ndim} for ndim, ps in lists.items()]
    """,
    "one group for each": """
        groups = []
        for n, p in model.named_parameters():
            groups.append({"params": [p], "lr": 0.1 / p.shape[-1], "weight_decay": 0.0 if p.ndim < 2 else 0.1})
        return groups
    """,
    "tags": """
        for n, p in model.named_parameters():
            p.label = "head" if n.startswith("lm_head") else "gain" if p.ndim < 2 else "matrix"
        return [{"params": [p for p in model.parameters() if p.label == x]} for x in ("head", "gain", "matrix")]
    """,
    "set algebra on names": """
        everything = {n for n, _ in model.named_parameters()}
        heads = {n for n in everything if "head" in n}
        vectors = {n for n, p in model.named_parameters() if p.ndim < 2}
        rest = everything - (heads | vectors)
        named = dict(model.named_parameters())
        return [
            {"params": [named[n] for n in sorted(heads)]},
            {"params": [named[n] for n in sorted(vectors - heads)]},
            {"params": [p for n, p in model.named_parameters() if n in rest]},
        ]
    """,
    "shapes": """
        small = [p for p in model.parameters() if p.numel() < 100]
        wide = [p for p in model.parameters() if p.numel() >= 100 and p.size(0) >= 100]
        other = [p for p in model.parameters() if p.numel() >= 100 and not p.shape[0] >= 100]
        return [{"params": small}, {"params": wide}, {"params": other}]
    """,
    "regular expressions": """
        late, early = [], []
        for n, p in model.named_parameters():
            m = re.search(r"blocks\\.(\\d+)\\.", n)
            if m and int(m.group(1)) >= 1:
                late.append(p)
            else:
                early.append(p)
        return [{"params": late}, {"params": early}]
    """,
    "parts of names": """
        odd, rest = [], []
        for n, p in model.named_parameters():
            parts = n.split(".")
            if parts[0] == "blocks" and int(parts[1]) % 2 == 1 and n.count(".") > 2:
                odd.append(p)
            else:
                rest.append(p)
        return [{"params": odd}, {"params": rest}]
    """,
    "names relative to a block": """
        attn, mlp, rest = [], [], []
        for i, block in enumerate(model.blocks):
            for n, p in block.named_parameters():
                if n.startswith("attn."):
                    attn.append(p)
                elif n.replace("mlp.", "") != n:
                    mlp.append(p)
                else:
                    rest.append(p)
        return [{"params": attn}, {"params": mlp}, {"params": rest}]
    """,
    "a tuple of lists": """
        g = [], [], []
        for m in model.modules():
            if hasattr(m, "bias") and isinstance(m.bias, nn.Parameter):
                g[2].append(m.bias)
            if isinstance(m, nn.LayerNorm):
                g[1].append(m.weight)
            elif hasattr(m, "weight") and isinstance(m.weight, nn.Parameter):
                g[0].append(m.weight)
        return [{"params": g[0]}, {"params": g[1], "lr": 0.1}, {"params": g[2]}]
    """,
    "generators": """
        return [
            {"params": (p for n, p in model.named_parameters() if "bias" not in n and len(p.shape) != 1)},
            {"params": (p for n, p in model.named_parameters() if "bias" in n or len(p.shape) == 1), "weight_decay": 0},
        ]
    """,
    "indices of pairs": """
        named = list(model.named_parameters())
        return [
            {"params": [x[1] for x in named if "emb" in x[0]]},
            {"params": [x[1] for x in named if "emb" not in x[0]]},
        ]
    """,
    "chain and extend": """
        body = itertools.chain(model.blocks.parameters(), model.conv.parameters())
        ends = []
        ends.extend([model.pos_emb])
        ends.extend(p for m in (model.tok_emb, model.lm_head, model.ln_f) for p in m.parameters())
        return [{"params": list(body)}, {"params": ends}]
    """,
    "one group for each size": """
        matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
        groups = [dict(params=[p for p in matrices if p.numel() == size]) for size in {p.numel() for p in matrices}]
        for shape in sorted({p.shape for p in model.blocks.parameters() if p.ndim < 2}):
            groups.append({"params": [p for p in model.blocks.parameters() if p.shape == shape], "lr": 0.1})
        return groups
    """,
    "one group for each shape": """
        hidden, rest = [], []
        for n, p in model.named_parameters():
            if p.ndim == 2 and "emb" not in n:
                hidden.append(p)
            elif p.ndim == 2:
                rest.append(p)
            else:
                hidden.append(p)
        groups = [{"params": dict.fromkeys(rest)}]
        for shape in dict.fromkeys(tuple(p.shape) for p in hidden):
            same = [p for p in hidden if tuple(p.shape) == shape]
            groups.append({"params": same, "lr": 0.1 * shape[0]})
        return groups
    """,
    "seen before": """
        seen, first, second = set(), [], []
        for p in model.blocks.parameters():
            if id(p) in seen:
                continue
            seen.add(id(p))
            first.append(p)
        for p in model.parameters():
            if id(p) not in seen:
                second.append(p)
        return [{"params": first}, {"params": second}]
    """,
}
HEAD = """
import itertools
import re
from collections import defaultdict

from torch import nn

SUFFIXES = ("lm_head.weight", ".bias")


def layer_of(name, layers):
    if name in ("pos_emb",):
        return 0
    elif name.startswith("tok_emb"):
        return 0
    elif name.startswith("blocks"):
        return int(name.split(".")[1]) + 1
    return layers + 1


def groups(model):
"""


def source(form: str) -> str:
    return HEAD + textwrap.indent(textwrap.dedent(FORMS[form]), "    ")


def names(model, groups):
    """The names in each real group, sorted, and its options."""
    by_id = {id(p): n for n, p in model.named_parameters()}
    found = []
    for group in groups:
        options = {k: v for k, v in group.items() if k != "params"}
        found.append((sorted(by_id[id(p)] for p in group["params"]), options))
    return sorted(found, key=lambda g: (g[0], str(g[1])))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_is_what_it_does(form):
    text = source(form)
    model = LM()
    inventory = paramlint.inspect(model)
    ctx = scripts.context(ast.parse(text), text, "<script>.py", KNOWN)
    (read,) = [r for r in ctx.reads if r.build.entry == "groups"]
    (proposal,) = proposals(read.build, inventory, KNOWN, sources={"<script>.py": text})
    assert proposal.unread == ()
    assert not any(g.unread for c in read.build.constructions for g in c.groups)
    space = {}
    exec(text, space)
    read_groups = [
        (sorted(m.name for m in g.members), dict(g.options))
        for use in proposal.optimizers
        for g in use.groups
        if g.members
    ]
    assert sorted(read_groups, key=lambda g: (g[0], str(g[1]))) == names(model, space["groups"](model))
