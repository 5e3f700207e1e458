"""A small language model by hand, for tests of what is made of a run: no torch, no worker."""

from __future__ import annotations

from paramlint.finding import Finding
from paramlint.group import Group, Member, OptimizerUse, Proposal
from paramlint.parameter import Evidence, Inventory, Location, Module, Parameter, Site
from paramlint.run import Run

LAYERS = 4
PLACE = Location("train.py", 88, label="recipe")


def parameter(
    name: str, shape: tuple[int, ...], role: str, to: str = "adam", *, aliases: tuple[str, ...] = (), **more: object
) -> Parameter:
    sites = tuple(Site(n, *n.rpartition(".")[::2]) for n in (name, *aliases))
    known = {"trainable": True, "evidence": (Evidence("module", role, f"a {role} by its class"),)}
    given = {**known, "confidence": "certain", **more}
    return Parameter(name, shape, "float32", sites=sites, role=role, destination=to, **given)


def inventory() -> Inventory:
    """53 parameters: a tied embedding, four blocks of eight, a frozen norm, a guess, and eighteen experts."""
    blocks = []
    for i in range(LAYERS):
        blocks += [
            parameter(f"h.{i}.attn.qkv.weight", (768, 256), "fused-matrix", "muon", splits=(256, 256, 256)),
            parameter(f"h.{i}.attn.proj.weight", (256, 256), "hidden-matrix", "muon"),
            parameter(f"h.{i}.norm.weight", (256,), "norm-gain"),
            parameter(f"h.{i}.norm.bias", (256,), "bias"),
        ]
    blocks += [parameter(f"h.{i}.expert.{e}.w", (256, 64), "hidden-matrix", "muon") for i in range(3) for e in range(6)]
    conflict = (
        Evidence("name", "elementwise", "its name has the word 'mix'", "guess"),
        Evidence("structure", "hidden-matrix", "one of 4 like blocks", "guess"),
    )
    return Inventory(
        "model.GPT",
        (
            parameter("wte.weight", (50304, 256), "tied-embedding", aliases=("lm_head.weight",)),
            *blocks,
            parameter("mix", (4, 4), "elementwise", confidence="guess", evidence=conflict),
            parameter("norm.weight", (256,), "norm-gain", trainable=False),
        ),
        modules=(
            Module("", ("model.GPT",)),
            Module("wte", ("torch.nn.modules.sparse.Embedding",)),
            Module("lm_head", ("torch.nn.modules.linear.Linear",)),
        ),
        location=Location("train.py", 10, label="build"),
        built_on="meta",
        policy="default",
    )


def run(*findings: Finding, grouped: bool = True, **more: object) -> Run:
    inv = inventory()
    routed = {p.name: p.destination for p in inv.parameters if p.trainable}
    return Run("train.py:build", inv, proposal(inv) if grouped else None, findings, routed=routed, **more)


def proposal(inv: Inventory) -> Proposal:
    """The right groups, flagged, and one tensor that is not the model's."""
    halves: dict[str, list[Member]] = {"muon": [], "adam": []}
    for p in inv.parameters:
        halves[p.destination].append(Member(p.name, p.shape))
    halves["adam"].append(Member(None, (3,)))
    groups = (
        Group(0, tuple(halves["muon"]), {"use_muon": True, "lr": 0.02}),
        Group(1, tuple(halves["adam"]), {"use_muon": False, "lr": 3e-4, "betas": (0.9, 0.95), "eps": float("inf")}),
    )
    return Proposal((OptimizerUse("groups", groups, profile="keller", assumed=True),), "listed", PLACE)


def finding(code: str, *names: str, severity: str = "error", **more: object) -> Finding:
    return Finding(
        code,
        severity,
        "is in Muon group 0",
        "move it to the AdamW half",
        names,
        location=PLACE,
        **more,
    )
