"""PML107 and PML110: parameters that are not there yet, or no longer what they were."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.context import Context
from paramlint.finding import Finding

_SHARDED = {
    "flat": "flattened by sharding: the parameters it is made of have lost their names, shapes and roles",
    "emptied": "emptied by sharding: its shape is gone, and with it every test on ndim",
}


def late(ctx: Context) -> Iterator[Finding]:
    """PML107. A lazy parameter has no shape until the first forward, so groups made before that cannot be right.

    Silent where there is one elementwise group for everything: no shape was asked for, and the tensor stays the same.
    Parameters that a forward makes, or makes anew, are in no group whatever the groups are.
    """
    yield from _made_by_forward(ctx)
    for p in ctx.inventory.parameters if ctx.proposal else ():
        if p.state != "uninitialized":
            continue
        places = ctx.places.get(p.name, ())
        if not places and p.name in ctx.unread:
            continue
        if len(places) == len(ctx.groups) == 1 and places[0].half == "adam":
            continue
        yield Finding(
            "PML107",
            "error",
            f"has no shape yet in {places[0].label}: every test on ndim or shape takes it for a vector"
            if places
            else "has no shape yet, and is in no group: created after the optimizer",
            "run one forward pass, or give the layer its input size, before building the optimizer",
            (p.name,),
            places[0].label if places else None,
        )


def _made_by_forward(ctx: Context) -> Iterator[Finding]:
    for name in ctx.inventory.appeared if ctx.proposal else ():
        known = ctx.inventory.find(name)
        if known is not None and not known.trainable:
            continue
        yield Finding(
            "PML107",
            "error",
            "is replaced in the forward: the groups hold the tensor from before"
            if known
            else "is made in the forward, and is in no group",
            "make it in the constructor, or run one forward pass before building the optimizer",
            (name,),
        )


def sharded(ctx: Context) -> Iterator[Finding]:
    """PML110."""
    for p in ctx.inventory.parameters:
        if p.state in _SHARDED:
            yield Finding(
                "PML110",
                "error",
                _SHARDED[p.state],
                "decide the groups on the whole model, before FSDP1 or ZeRO-3 takes it over; FSDP2 keeps shapes",
                (p.name,),
            )
