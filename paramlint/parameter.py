"""What is known of one parameter, and of all of a model's: plain data, no torch.

An `Inventory` is made in two steps. `paramlint.model` reads the facts off a live model (names, shapes, modules,
accessors, and the uses that a trace finds). `paramlint.roles` adds what follows from them (role, evidence,
destination). Both are the same types, so that facts travel between processes, and to disk, on their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from math import prod
from typing import Literal

from paramlint.record import dataclass

Confidence = Literal["certain", "likely", "guess"]
Destination = Literal["muon", "adam"]
Layer = Literal["identity", "use", "module", "accessor", "structure", "shape", "name"]
Plain = None | bool | int | float | str | tuple["Plain", ...] | Mapping[str, "Plain"]

#: Evidence layers, strongest first.
LAYERS: tuple[Layer, ...] = ("identity", "use", "module", "accessor", "structure", "shape", "name")


@dataclass(frozen=True)
class Location:
    """A place in a source file. Lines and columns count from 1; columns count characters."""

    path: str
    line: int
    column: int = 1
    label: str = ""


@dataclass(frozen=True)
class Site:
    """One place in the module tree where a parameter is registered: `module` is '' for the root."""

    name: str
    module: str
    attribute: str


@dataclass(frozen=True)
class Part:
    """Rows of a fused matrix that are used in one way: how many in all, and what for ("query", "gate", ...)."""

    rows: int
    purpose: str = ""


@dataclass(frozen=True)
class Use:
    """One place in a traced forward where a parameter is read.

    `op` is what is done with it: "matmul", "convolution", "lookup" (rows picked by integers), "bias", "add",
    "concatenate", "replace", "multiply", "normalise", "attend" (a learned query, key or value), "mapped" (learned
    vectors that a linear map reads), "factor" (of a weight that is a product), "other". `function` is torch's own name
    of the operation, and `operand` the position of the argument.

    Of maps: `batch_dims` of the weight, `groups` of a convolution, and the `parts` that its output features are divided
    into; `repeats` is 1 where the parts are contiguous blocks, else how often their pattern recurs (interleaved).
    `from_input` says that the map is the first on data of the model, `on_constants` that it reads neither input nor
    parameters, `to_output` that it is the last before an output, `feeds` that another map follows, `chooses` that the
    largest of its outputs are picked, `narrow` that it takes or gives fewer than four features, `adapts` that it is
    half of a low-rank pair beside a larger map.
    `index` says what rows are picked by: "data", or "constant".
    """

    op: str
    operand: int = 0
    function: str = ""
    batch_dims: int = 0
    parts: tuple[Part, ...] = ()
    repeats: int = 1
    groups: int = 1
    from_input: bool = False
    on_constants: bool = False
    to_output: bool = False
    feeds: bool = False
    chooses: bool = False
    adapts: bool = False
    narrow: bool = False
    index: Literal["", "data", "constant"] = ""

    @property
    def is_map(self) -> bool:
        """Whether the parameter is the matrix of a linear map, or the filter of a convolution."""
        return self.op in ("matmul", "convolution")


@dataclass(frozen=True)
class Pass:
    """One forward pass that was tried on stand-in tensors.

    `inputs` are what was given ("input_ids (1, 16)"), `how` is the rung that was stood on, `stopped` is what ended the
    pass before its end, "" where it was complete. `answered` are the classes of modules whose kernels cannot run here:
    what they give was made up from their sizes, and what they do with their parameters may not have been seen. `part`
    is the path of the module that was run alone, "" where the whole model was. `training` is the mode it ran in, `new`
    how many parameters no earlier pass had read, and `given` the arguments, plainly ("args", "kwargs": see
    `paramlint.model.trace.described`).
    """

    inputs: str
    how: Literal["meta", "bf16", "fake", "cpu"] = "meta"
    stopped: str = ""
    answered: tuple[str, ...] = ()
    part: str = ""
    training: bool = field(default=False, compare=False)
    new: int = field(default=0, compare=False)
    given: Mapping[str, Plain] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Evidence:
    """One fact that speaks for a role."""

    layer: Layer
    role: str
    text: str
    confidence: Confidence = "certain"


@dataclass(frozen=True)
class Parameter:
    """One `nn.Parameter`, identified by its tensor.

    `name` is the first that `named_parameters()` yields, wrapper prefixes stripped; `aliases` are the others (tied
    weights). `shape` is the global shape of a sharded tensor; () with `state` "uninitialized" for a lazy one. `reach`
    is what traced passes say: "unused" where the module that owns it ran and nothing read it, "unreached" where that
    module never ran, "" without a trace. `splits` are the row counts of the parts of a fused matrix, () where there is
    one part or they are not known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    sites: tuple[Site, ...]
    state: Literal["ok", "uninitialized", "flat", "emptied", "quantized"] = "ok"
    sparse: bool = False
    use_muon: bool | None = None
    uses: tuple[Use, ...] = ()
    role: str = "unknown"
    confidence: Confidence = "guess"
    destination: Destination = "adam"
    evidence: tuple[Evidence, ...] = ()
    splits: tuple[int, ...] = ()
    reach: Literal["", "read", "unused", "unreached"] = ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """The other names of the same tensor, in the order of the module tree."""
        return tuple(s.name for s in self.sites if s.name != self.name)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def effective_ndim(self) -> int:
        """How many dimensions are longer than one: 1 for `(C, 1, 1)`, `[1, N]`, `[N, 1]`."""
        return sum(d > 1 for d in self.shape)

    @property
    def numel(self) -> int:
        """Elements of the global shape; 0 for a lazy parameter, which has none yet."""
        return 0 if self.state == "uninitialized" else prod(self.shape)

    @property
    def why(self) -> str:
        """The evidence that decided the role, in one line."""
        return self.evidence[0].text if self.evidence else "nothing speaks for a role"


@dataclass(frozen=True)
class Module:
    """One module of the tree, in the order of `named_modules()`.

    `classes` are the qualified names of its class and its bases, nearest first, without `nn.Module` and `object`.
    `sizes` holds the plain public attributes that say what the module does (`in_features`, `groups`, ...).
    """

    path: str
    classes: tuple[str, ...]
    sizes: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True)
class Accessors:
    """What the model's own library says of it. Paths are module paths, names are parameter names.

    `label_sizes` are the numbers of labels, tokens or codes that its config declares, `input_sizes` the widths of its
    continuous inputs. `layers` has the layer of each parameter for layer-wise lr decay, 0 the first; {} where the
    library does not say.
    """

    input_embeddings: tuple[str, ...] = ()
    output_embeddings: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    first_layers: tuple[str, ...] = ()
    no_weight_decay: tuple[str, ...] = ()
    base: str | None = None
    label_sizes: tuple[int, ...] = ()
    input_sizes: tuple[int, ...] = ()
    layers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """The ordered parameters of a model with everything known about each. Tied tensors stand once.

    `passes` are the forward passes that were tried, and `appeared` the names of trainable parameters that they made.
    """

    model: str
    parameters: tuple[Parameter, ...]
    modules: tuple[Module, ...] = ()
    accessors: Accessors = field(default_factory=Accessors)
    location: Location | None = None
    built_on: str = "live"
    notes: tuple[str, ...] = ()
    policy: str = ""
    passes: tuple[Pass, ...] = ()
    appeared: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits over names, shapes and `requires_grad`, in order: equal for equal parameter lists."""
        from hashlib import sha256

        text = "\n".join(f"{p.name} {p.shape} {p.trainable} {p.aliases}" for p in self.parameters)
        return sha256(text.encode()).hexdigest()[:12]

    def find(self, name: str) -> Parameter | None:
        """The parameter of that name or alias."""
        for p in self.parameters:
            if p.name == name or name in p.aliases:
                return p
        return None
