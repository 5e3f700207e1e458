"""Parts of a model that are run by themselves, where its own forward does not come to them.

An audio codec that only turns tokens into sound at the end, a second stage that is called token by token while a text
is generated, a tower whose inputs nobody could make up as its model wants them: each has a forward of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import nn

from paramlint.model.inputs.example import Example
from paramlint.model.inputs.find import starts
from paramlint.parameter import Use

_FEW = 2  # matrices that are worth a pass
_STARTS = 3
#: Arguments that are data; any other numbers that a part takes are made by the rest of the model.
_DATA = re.compile(
    r"pixel_values|^input_(features|values)$|^(image|images|img|video|audio|waveform|wav|flattened_patches|past_values)$"
)

Kind = tuple[type, tuple[str, ...]]


def parts(root: nn.Module, read: Callable[[int], bool], through: Container[str]) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that nothing was read of, by path; those inside one whose own pass did not help.

    Args:
        root: the stand-in of the model.
        read: whether a parameter, given by its identity, was read by now. Asked again between one part and the next.
        through: paths of the modules that ran in a pass that was complete.
    """
    # the path that a pass gives to a module which stands in several places is the last
    paths = {id(m): path for path, m in root.named_modules(remove_duplicate=False)}
    vain: set[Kind] = set()
    stack = list(root.children())[::-1]
    while stack:
        module = stack.pop()
        path, sort = paths[id(module)], kind(module)
        unread, every = _matrices(module, read)
        if len(unread) < _FEW:
            continue
        alone = type(module).forward is not nn.Module.forward and path not in through
        if alone and 2 * len(unread) >= every and sort not in vain:
            yield path, module
            left, _ = _matrices(module, read)
            if len(left) == len(unread):
                vain.add(sort)
        stack += list(module.children())[::-1]


def kind(module: nn.Module) -> Kind:
    """What tells modules apart that take the same inputs, as far as that shows."""
    return type(module), tuple(module._modules)


def single(root: nn.Module, part: nn.Module) -> bool:
    """Whether a part is the only one of its kind."""
    return sum(kind(m) == kind(part) for m in root.modules()) == 1


def _matrices(module: nn.Module, read: Callable[[int], bool]) -> tuple[list[int], int]:
    """The matrices in a module that were not read, and how many there are."""
    every = [id(p) for p in module.parameters() if p.ndim > 1]
    return [i for i in every if not read(i)], len(every)


def examples(path: str, module: nn.Module) -> Iterator[Example]:
    """Inputs for a part, from the sources that those of a model are from."""
    for count, example in enumerate(starts(module)):
        if count == _STARTS:
            return
        yield replace(example, part=path)


def made_elsewhere(example: Example, name: str) -> bool:
    """Whether an argument of a part is what the rest of the model made, and no data."""
    if name == "hidden_states" and any("grid" in n for n in example.kwargs):
        return False  # patches of images, with the rows and columns that they are from
    return _DATA.search(name) is None


def in_the_whole(
    read: Mapping[int, Collection[Use]],
    before: Mapping[int, Collection[Use]],
    shapes: Sequence[tuple[int, ...]],
    *,
    ends: bool,
) -> dict[int, dict[Use, None]]:
    """What the uses in a part are in the model: where the part ends, the model goes on with what it gives.

    Only a map to a size that no other map has (as many as there are tokens, or labels) is taken for the last in the
    model too.

    Args:
        read: uses in a pass over the part, by the number of the parameter.
        before: uses in the passes before it.
        shapes: of the parameters, by number.
        ends: whether the part may be an end of the model; one of several like blocks is none.
    """
    sizes = {
        d
        for uses in (read, before)
        for p, us in uses.items()
        if any(u.is_map and not u.to_output for u in us)
        for d in shapes[p]
    }
    found: dict[int, dict[Use, None]] = {}
    for p, us in read.items():
        if p not in before:
            last = ends and any(d not in sizes for d in shapes[p])
            found[p] = dict.fromkeys(
                replace(u, to_output=u.to_output and last, from_input=u.from_input and ends) for u in us
            )
    return found
