"""Mends scripts: fixes of findings become edits of the source, and all else stays as it is.

`apply` takes the fixes of one script. LibCST says where things stand; what changes is the text, in as few characters
as can be, so that comments, layout, line ends and indentation are those of the script. A fix that cannot be done, or
need not, is handed back with the reason. Where a condition grows past the width of the script's lines, it is broken up.

Places are those of `Fix`: line and column from 1, in characters, as `ast` has them once its bytes are counted as
characters; the brackets around an expression may be in the span or not. Any fix may say in `data` under "old" what
must stand at its place.

The kinds, what they are about, and their `data` (in [] what may be left out):

`wrap-list`: an expression becomes `list(...)`. With `parameter`, the name of one, it is about a whole function, which
    then begins with `name = list(name)`, or about a statement, which comes after that.
`ordered-set`: `set(x)`, `frozenset(x)`, a set display or comprehension becomes `dict.fromkeys(...)`; so does the one in
    `list(set(x))`. Not done where a set is needed: arithmetic, `.add` and the like.
`deprecated-signature`: a call such as `x.add_(2, y)` becomes `x.add_(y, alpha=2)`. ["keyword"]: the one that the scalar
    must get.
`remove-comment`: a comment, or part of one from a `#` on, goes, with its line where there is nothing else.
    ["keep"]: what takes its place.
`replace-text`: an expression, token or statement becomes `text`.
`add-else`: an if statement gets `else:` with `statement`; its last `elif` becomes that where it does the same.
`complement`: a condition becomes what is true where `condition` is not; its tests of `requires_grad` stay as they are.
    ["names"]: what names in `condition` are called here, as a mapping.
`only-trainable`: a comprehension gets `if p.requires_grad`, a for statement begins with `if not p.requires_grad:
    continue`, any other expression becomes `[p for p in ... if p.requires_grad]`. ["parameter"]: the name, "p".
`only-matrices`: a condition gets `and p.ndim >= 2`; `m.parameters()`, a list of it, or a comprehension takes only
    those. ["parameter"]: the name, "p". ["also"]: places of conditions that say the opposite, and get
    `or p.ndim < 2`. ["rest"]: an expression for a list; where the place is `m.parameters()`, a statement after it gives
    that list the others.
`insert-check`: after a statement, assertions that no parameter is in two groups and each trainable one is in one.
    `model`, one or several; and either `lists`, expressions for lists of parameters, or `groups`, one or several for
    lists of groups.
`types-and-identity`: a condition gets `id(p) not in not_muon`, in the place of tests of the name where it has any; the
    set is made before the loops around it, of all parameters that an `nn.Embedding` owns. `model`: an expression.
    ["parameter"]: the name, "p". ["sends"]: "muon" for a condition of those that go to Muon, "adam" for one of those
    that do not. ["roles"]: what is kept out; embeddings are not in the set where none of their roles is among these.
    ["attributes"]: paths of more parameters, such as "lm_head.weight" or "net[-1].weight". ["endings"]: what the names
    of more parameters end in. ["classes"]: of `torch.nn`, instead of "Embedding". A set that the conditions, and
    nothing else, ask for already gets what it lacks of these. ["needles"]: the pieces of names whose tests go; else
    those that mean an embedding, or that are in one of the attributes. ["also"]: places of conditions that say the
    opposite.

A place under "also" is `((line, column), (line, column))`, with the parameter's name there as a third part where that
is another.
"""

from __future__ import annotations

from paramlint.rewrite.apply import KINDS, Applied, apply

__all__ = ["KINDS", "Applied", "apply"]
