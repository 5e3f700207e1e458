"""Parts of a model that are run by themselves, where its own forward does not come to them.

An audio codec that only turns tokens into sound at the end, a second stage that is called token by token while a text
is generated, a tower whose inputs nobody could make up as its model wants them: each has a forward of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import replace

from torch import nn

from paramlint.model.inputs.example import Example
from paramlint.model.inputs.find import starts

_FEW = 2  # matrices that are worth a pass
_STARTS = 4
#: Arguments that are data; any other numbers that a part takes are made by the rest of the model.
_DATA = re.compile(
    r"pixel_values|^input_(features|values)$|^(image|images|img|video|audio|waveform|wav|flattened_patches|past_values)$"
)


def parts(root: nn.Module, read: Callable[[int], bool], through: Container[str]) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that nothing was read of, by path; those inside one whose own pass did not help.

    Args:
        root: the stand-in of the model.
        read: whether a parameter, given by its identity, was read by now. Asked again between one part and the next.
        through: paths of the modules that ran in a pass that was complete.
    """
    # the path that a pass gives to a module which stands in several places is the last
    paths = {id(m): path for path, m in root.named_modules(remove_duplicate=False)}
    vain: set[tuple[type, tuple[str, ...]]] = set()
    stack = list(root.children())[::-1]
    while stack:
        module = stack.pop()
        path, kind = paths[id(module)], (type(module), tuple(module._modules))
        unread, every = _matrices(module, read)
        if len(unread) < _FEW:
            continue
        alone = type(module).forward is not nn.Module.forward and path not in through
        if alone and 2 * len(unread) >= every and kind not in vain:
            yield path, module
            left, _ = _matrices(module, read)
            if len(left) == len(unread):
                vain.add(kind)
        stack += list(module.children())[::-1]


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
