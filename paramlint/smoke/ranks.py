"""One of several processes that make the same step under DDP and FSDP2: what each of them runs.

Rank 0 makes the step by itself first. Everything is said in JSON through a pipe: {"at": what it is doing}, and one
`Outcome` for each way to run. A rank ends at a failure after which it cannot know where the others are.
"""

from __future__ import annotations

import functools
import inspect
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from paramlint.errors import ParamlintError
from paramlint.model import guard, torchvision_ops
from paramlint.serial import encode
from paramlint.smoke import membership, wrapping
from paramlint.smoke.agreement import TOGETHER, Outcome, differences
from paramlint.smoke.culprits import culprits
from paramlint.smoke.optimizers import Factory, Made, Maker, Plain
from paramlint.smoke.processes import HOME, HOST
from paramlint.smoke.recipe import Recipe
from paramlint.smoke.step import Inputs, Loss, StepFailed, Updates, one_step, parameters
from paramlint.smoke.wrapping import Mode

#: What is done before the processes meet.
ALONE = ("the build of the model", "the step of one process alone")
_CPU = torch.device("cpu")
_LONG = 120  # characters, beyond which the first sentence of an error has to do


@dataclass(frozen=True)
class Job:
    """What all ranks are to do. `inputs` are (args, kwargs) as `torch.save` writes them; `muon` the parameters that are
    orthogonalised, or may be. After `seconds` nobody waits for a rank that does not come."""

    recipe: Recipe
    processes: int
    modes: tuple[Mode, ...]
    inputs: bytes
    training: bool
    cuda: bool
    muon: frozenset[str]
    seconds: float


@dataclass(frozen=True)
class Alone:
    """The step of one process, and what was learnt by the way: which blocks are called, whether trainable parameters
    are without a gradient, which group each parameter is in; buffers as they were before."""

    updates: Updates
    blocks: tuple[str, ...]
    unused: bool
    groups: Mapping[str, str]
    buffers: Mapping[str, Tensor]


def main(rank: int, writers: Sequence[Connection], port: int, job: Job) -> None:
    """Makes the steps, says what they did, and ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this
    with suppress(ValueError):
        sys.path.remove(HOME)
    for number, writer in enumerate(writers):
        if number != rank:
            writer.close()
    build = job.recipe.request.build
    guard.end_with_parent()
    guard.crash_reports()
    guard.environment(build.allow_network)
    torchvision_ops.install()
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # to compile an optimizer takes longer than all the rest, in every rank
    if not build.allow_network:
        guard.block_network()
    _Rank(rank, writers[rank], port, job).run()
    sys.stdout.flush()
    os._exit(0)


class _Rank:
    def __init__(self, rank: int, writer: Connection, port: int, job: Job) -> None:
        self.rank, self.writer, self.port, self.job = rank, writer, port, job
        self.device = torch.device("cuda", rank) if job.cuda else _CPU
        self.doing = ""

    def say(self, value: dict[str, Any]) -> None:
        self.writer.send_bytes(json.dumps(value).encode())

    def at(self, what: str) -> None:
        self.doing = what
        self.say({"at": what})

    def run(self) -> None:
        mode = ""
        try:
            self.at(ALONE[0])
            with _environment(self.rank, self.job.processes):
                loss, factories = self.job.recipe.loss(), self.job.recipe.factories()
            alone = self._alone(loss, factories) if self.rank == 0 else None
            self.at("the meeting of the processes")
            with _environment(self.rank, self.job.processes), _group(self.rank, self.port, self.device, self.job):
                shared: list[Any] = [None]
                if alone is not None:
                    shared = [(alone.blocks, alone.unused)]
                dist.broadcast_object_list(shared, 0)
                for mode in self.job.modes:
                    outcome = self._mode(Outcome(mode, self.rank), loss, factories, alone, *shared[0])
                    self.say({"outcome": encode(outcome)})
                    if outcome.stage not in TOGETHER:
                        return
        except Exception as error:
            cause = (error.__cause__ or error) if isinstance(error, StepFailed) else error
            self.say({"outcome": encode(Outcome(mode, self.rank, "other", f"{self.doing} fails: {_line(cause)}"))})

    def _model(self) -> nn.Module:
        model = self.job.recipe.model().to(self.device)
        return model if self.job.training else model.eval()

    def _inputs(self) -> Inputs:
        args, kwargs = torch.load(io.BytesIO(self.job.inputs), map_location=self.device, weights_only=False)
        return Inputs(args, kwargs)

    def _alone(self, loss: Loss, factories: Sequence[Factory]) -> Alone:
        """The step without company, as one process makes it."""
        with _environment(0, 1), ExitStack() as stack:
            model = self._model()
            buffers = {name: b.detach().clone() for name, b in model.named_buffers()}
            maker = Maker(factories, self.job.recipe.known.profiles)
            stack.callback(maker.close)
            made = maker.make(model)
            self.at(ALONE[1])
            blocks = wrapping.repeated(model)
            called = stack.enter_context(wrapping.noting_calls(model, blocks))
            updates = one_step(model, made.tops, self._inputs(), loss, keep=_CPU)
            unused = any(p.requires_grad and n not in updates.gradients for n, p in parameters(model).items())
            wanted = tuple(b for b in blocks if b in called)
            return Alone(updates, wanted, unused, membership.groups_of(made, model), buffers)

    def _mode(
        self, start: Outcome, loss: Loss, factories: Sequence[Factory], alone: Alone | None, blocks: Any, unused: bool
    ) -> Outcome:
        mode: Mode = "ddp" if start.mode == "ddp" else "fsdp2"
        title = wrapping.TITLES[mode]
        self.at(f"the build of the model for {title}")
        model = self._model()
        self._same_weights(model, alone)
        self.at(f"the wrapping in {title}")
        mesh: Any = dist.group.WORLD
        try:
            if mode == "ddp":
                wrapped = wrapping.ddp(model, self.device, unused=unused)
            else:
                from torch.distributed.device_mesh import init_device_mesh

                mesh = init_device_mesh(self.device.type, (self.job.processes,))
                wrapped = wrapping.fsdp2(model, mesh, blocks)
        except Exception as error:
            return replace(start, stage="wrap", error=_line(error))
        self.at(f"the making of the optimizers under {title}")
        made, remarks, refusal = self._tried(factories, wrapped, model, mesh, mode)
        groups = membership.groups_of(made, wrapped)
        self.at(f"the comparison of the groups under {title}")
        everywhere: list[Any] = [None] * self.job.processes
        dist.all_gather_object(everywhere, (refusal, groups))
        refusal = next((r for r, _ in everywhere if r), "")
        if refusal:
            return replace(start, stage="optimizers", error=refusal)
        differing = membership.differing(list(parameters(wrapped)), [g for _, g in everywhere])
        if differing:
            said = membership.by_rank(differing[0], [g for _, g in everywhere])
            return replace(start, stage="groups", error=said, parameters=differing)
        try:
            updates = one_step(
                wrapped, self._announced(made, title), self._inputs(), self._loss(loss, title), keep=_CPU
            )
        except StepFailed as failed:
            stopped = replace(start, stage="step", error=_line(failed.__cause__ or failed))
            self.say({"outcome": encode(stopped)})
            self.at(f"the search for the parameters that the step fails on, under {title}")
            return replace(stopped, parameters=tuple(culprits(wrapped, made, failed)))
        except Exception as error:
            return replace(start, stage="forward", error=_line(error))
        self.at(f"the comparison of the weights under {title}")
        ranks = self._between_ranks(updates) if mode == "ddp" else {}
        dist.barrier()
        if alone is None:
            return replace(start, stage="done")
        return replace(
            start,
            stage="done",
            differences=differences(alone.updates, updates, self.job.muon),
            ranks=ranks,
            regrouped=tuple(membership.regrouped(alone.groups, groups, title)),
            remarks=remarks,
            seconds=sum(updates.seconds.values()),
        )

    def _same_weights(self, model: nn.Module, alone: Alone | None) -> None:
        """Every rank begins where one process alone began, also where a build is not the same each time."""
        first = {**alone.updates.before, **alone.buffers} if alone is not None else {}
        for name, held in (*parameters(model).items(), *model.named_buffers()):
            # others are tables that a build computes; one that is expanded cannot be written to
            if held.is_floating_point() and held.numel() and 0 not in held.stride():
                whole = first.get(name, held).detach().to(self.device).contiguous()
                dist.broadcast(whole, 0)
                held.detach().copy_(whole)

    def _tried(
        self, factories: Sequence[Factory], wrapped: nn.Module, model: nn.Module, mesh: Any, mode: Mode
    ) -> tuple[Made, tuple[str, ...], str]:
        """The optimizers with remarks, and why there are none."""
        try:
            made, remarks = self._made(factories, wrapped, model, mesh, mode)
        except ParamlintError as error:
            return Made(None), (), error.message
        return made, remarks, made.refused

    def _made(
        self, factories: Sequence[Factory], wrapped: nn.Module, model: nn.Module, mesh: Any, mode: Mode
    ) -> tuple[Made, tuple[str, ...]]:
        """The optimizers over what is wrapped. Functions that stumble over the wrapper, since they want an attribute of
        the model or are its methods, get the model inside, as a script calls them with `model.module`.

        Raises:
            ParamlintError: neither works.
        """
        maker = Maker([_told(f, mesh, mode) for f in factories], self.job.recipe.known.profiles)
        try:
            return maker.make(wrapped), ()
        except ParamlintError as error:
            if model is wrapped or type(wrapped).__name__ not in error.message:
                raise
            try:
                made = maker.make(model)
            except ParamlintError:
                raise error from None
            return made, (f"made from model.module, since from the wrapped model: {error.message}",)

    def _announced(self, made: Made, title: str) -> list[Any]:
        return [_Announced(top, self.at, f"the step of {type(top).__name__} under {title}") for top in made.tops]

    def _loss(self, loss: Loss, title: str) -> Loss:
        def announced(model: nn.Module, inputs: Inputs) -> Tensor:
            self.at(f"the forward under {title}")
            value = loss(model, inputs)
            self.at(f"the backward under {title}")
            return value

        return announced

    def _between_ranks(self, updates: Updates) -> dict[str, float]:
        """The largest absolute difference to rank 0 after the step, of parameters that differ."""
        largest = []
        for after in updates.after.values():
            mine = after.to(self.device)
            first = mine.clone()
            dist.broadcast(first, 0)
            same = torch.equal(first, mine) or bool((first.isnan() == mine.isnan()).all() and first.isnan().all())
            off = 0.0 if same else float((first.float() - mine.float()).abs().nan_to_num(nan=float("inf")).max())
            largest.append(off)
        found = torch.tensor(largest, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return {name: off for name, off in zip(updates.after, found.tolist(), strict=True) if off}


class _Announced:
    """An optimizer that says when it is stepped."""

    def __init__(self, optimizer: Any, at: Callable[[str], None], what: str) -> None:
        self.optimizer, self.at, self.what = optimizer, at, what

    def step(self) -> Any:
        self.at(self.what)
        return self.optimizer.step()


def _told(factory: Factory, mesh: Any, mode: Mode) -> Factory:
    """A factory that is told of the mesh (under DDP, of the process group) where it can be, as dion's classes must."""
    keys = ("distributed_mesh", "replicate_mesh" if mode == "ddp" else "outer_shard_mesh")
    function = factory.make if isinstance(factory, Plain) else factory
    try:
        given = {key: mesh for key in keys if key in inspect.signature(function).parameters}
    except (TypeError, ValueError):
        given = {}
    if not given:
        return factory

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{**kwargs, **given})

    return Plain(told) if isinstance(factory, Plain) else told


@contextmanager
def _environment(rank: int, world: int) -> Iterator[None]:
    """The variables that torchrun sets, for code that asks them."""
    values = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _group(rank: int, port: int, device: torch.device, job: Job) -> Iterator[None]:
    """torch's default process group, of all ranks."""
    patience = timedelta(seconds=job.seconds)
    if os.path.exists("/sys/class/net/lo"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host name that does not resolve is no obstacle then
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store = TCPStore(HOST, port, is_master=False, timeout=patience)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=job.processes, timeout=patience)
    try:
        yield
    finally:
        with suppress(Exception):
            dist.destroy_process_group()


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else "without a text"
    if len(said) > _LONG:
        said = said.partition(". ")[0][: 2 * _LONG]
    return said if isinstance(error, ParamlintError) else f"{type(error).__name__}: {said}"
