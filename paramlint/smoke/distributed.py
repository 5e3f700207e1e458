"""The same step over several processes, under DDP and under FSDP2, held against that of one process."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from paramlint.parameter import Parameter
from paramlint.profile import Profile
from paramlint.serial import decode
from paramlint.smoke import ranks
from paramlint.smoke.agreement import ELEMENTWISE, MUON, TOGETHER, Difference, Outcome
from paramlint.smoke.processes import started
from paramlint.smoke.ranks import Job
from paramlint.smoke.recipe import Recipe
from paramlint.smoke.subject import Subject
from paramlint.smoke.wrapping import TITLES, Mode
from paramlint.smoked import SmokeCheck

MODES: tuple[Mode, ...] = ("ddp", "fsdp2")

_GRACE = 5.0  # seconds that other ranks are waited for when one has failed
_SEARCH = 20.0  # seconds in which the parameters that a step fails on are looked for
_WAITING = (
    "a rank that goes another way than the rest leaves them waiting: look for what depends on it, or raise --timeout"
)
_BACKEND = ("does not support", "not implemented for", "not supported on")


@dataclass
class _Told:
    """What is known of one way to run: the outcomes by rank, and what went wrong with the processes themselves."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    lost: str = ""

    @property
    def failed(self) -> Outcome | None:
        """That of the first rank that did not get to the end; of those, one that knows which parameters it is about."""
        found = [o for _, o in sorted(self.outcomes.items()) if o.stage != "done"]
        return next((o for o in found if o.parameters), found[0] if found else None)


def distributed(
    recipe: Recipe, subject: Subject, *, processes: int, modes: Sequence[Mode] = MODES, timeout: float = 300.0
) -> list[SmokeCheck]:
    """Makes one step in `processes` fresh processes, wrapped in each of these ways, all with the same batch; the checks
    "ddp" and "fsdp2".

    Each process takes as much memory as a smoke step of its own, the first one twice that. On a machine with a GPU for
    each, every process has one; else they run on the CPU, and the figure says so. They are gone afterwards, whatever
    happens.

    Args:
        recipe: how the model and its optimizers are made again.
        subject: the model that the single-process checks have looked at; of it the inputs are taken, the mode (training
            or not), and who updates which parameter. Its step must not have failed.
        processes: how many, 2 or more.
        timeout: seconds for all of it.
    """
    deadline = time.monotonic() + timeout
    cuda = subject.device.type == "cuda" and torch.cuda.device_count() >= processes
    try:
        inputs = io.BytesIO()
        torch.save((subject.inputs.args, dict(subject.inputs.kwargs)), inputs)
    except Exception as error:
        why = f"the inputs cannot be sent to other processes: {type(error).__name__}: {error}"
        return [SmokeCheck(mode, "skip", why) for mode in modes]
    muon = frozenset(p.name for p in subject.inventory.parameters if _is_muon(subject, p.name))
    where = _where(subject, processes, cuda)
    told = {mode: _Told() for mode in modes}
    while waiting := tuple(m for m in modes if not told[m].outcomes and not told[m].lost):
        left = deadline - time.monotonic()
        if left <= 0:
            for mode in waiting:
                told[mode].lost = f"there was no time left of {timeout:g} s"
            break
        job = Job(recipe, processes, waiting, inputs.getvalue(), subject.model.training, cuda, muon, left)
        _run(job, told, deadline, timeout, searching=_whole(subject) is None)
    return [_check(subject, mode, told[mode], where) for mode in modes]


def _run(job: Job, told: Mapping[Mode, _Told], deadline: float, timeout: float, *, searching: bool) -> None:
    """One set of processes, until they have gone all ways or failed on one of them: what is left needs fresh ones.

    `searching`: a step that fails is no surprise, and the parameters need not be looked for, where it is False.
    """
    with started(ranks.main, lambda port: (port, job), job.processes, deadline) as running:
        reached = dict.fromkeys(range(job.processes), 0)
        left = len(job.modes)
        running.deadline = _share(deadline, left)
        for rank, said in running.messages():
            outcome = decode(Outcome, said["outcome"])
            if not outcome.mode:
                for each in job.modes:
                    told[each].lost = f"no comparison: {outcome.error}"
                return
            mode: Mode = "ddp" if outcome.mode == "ddp" else "fsdp2"
            told[mode].outcomes[rank] = outcome
            reached[rank] = job.modes.index(mode) + (outcome.stage in TOGETHER)
            if len(job.modes) - min(reached.values()) < left:
                left -= 1
                running.deadline = _share(deadline, left)
            if outcome.stage not in TOGETHER:
                looking = searching and outcome.stage == "step" and not outcome.parameters
                patience = _SEARCH if looking else _GRACE
                running.deadline = min(running.deadline, time.monotonic() + patience)
                if len(told[mode].outcomes) == job.processes and not looking:
                    return
        if not left:
            return
        behind = told[job.modes[-left]]
        late = [r for r, index in reached.items() if index == len(job.modes) - left and r not in behind.outcomes]
        ended = {rank: running.ended(rank) for rank in late}
        gone = [f"rank {rank} {how} in {running.at[rank]}" for rank, how in ended.items() if how]
        if gone:  # what other ranks say then is that they lost it
            behind.lost = "; ".join(gone)
            behind.outcomes.clear()
        elif behind.failed is None:
            behind.lost = _waiting(running.at, late, timeout)
            if running.at[0] in ranks.ALONE:
                behind.lost = f"no comparison: {behind.lost}"


def _share(deadline: float, modes: int) -> float:
    """Until when the next of so many modes may take."""
    now = time.monotonic()
    return now + (deadline - now) / max(modes, 1)


def _waiting(at: Sequence[str], late: Sequence[int], timeout: float) -> str:
    """Where ranks were that did not come to an end."""
    places: dict[str, list[str]] = {}
    for rank in late:
        places.setdefault(at[rank], []).append(str(rank))
    said = "; ".join(f"rank{'s' * (len(r) > 1)} {', '.join(r)} in {place}" for place, r in places.items())
    return f"no end in its share of {timeout:g} s: {said}"


def _is_muon(subject: Subject, name: str) -> bool:
    """Whether it is orthogonalised, or may be: of a class that no profile describes nobody knows."""
    place = subject.place(name)
    return place is not None and (place.half == "muon" or place.profile is None)


def _where(subject: Subject, processes: int, cuda: bool) -> str:
    if cuda:
        return f"{processes} processes, a GPU each, NCCL"
    if subject.device.type == "cuda":
        return f"{processes} processes on CPU, gloo ({torch.cuda.device_count()} GPU for {processes} processes)"
    if subject.device.type != "cpu":
        return f"{processes} processes on CPU, gloo (not on {subject.device.type})"
    return f"{processes} processes on CPU, gloo"


def _check(subject: Subject, mode: Mode, told: _Told, where: str) -> SmokeCheck:
    failed = told.failed
    whole = _whole(subject) if mode == "fsdp2" else None
    if told.lost.startswith("no comparison"):
        return SmokeCheck(mode, "skip", told.lost, help="raise --timeout" if "no end" in told.lost else "")
    if (told.lost or failed is not None) and whole is not None and (failed is None or failed.stage != "groups"):
        why = told.lost or (failed.error if failed else "")
        return SmokeCheck(mode, "skip", f"{whole.title} wants whole tensors", details=(_reason(whole), why))
    if failed is not None:
        return _stopped(subject, mode, failed)
    if told.lost:
        waited = "no end" in told.lost
        return SmokeCheck(mode, "fail", told.lost, help=_WAITING if waited else "")
    return _compared(subject, mode, told.outcomes[0], where)


def _stopped(subject: Subject, mode: Mode, failed: Outcome) -> SmokeCheck:
    title = TITLES[mode]
    names, code = failed.parameters, ""
    if failed.stage == "wrap":
        return SmokeCheck(mode, "skip", f"{title} does not take the model: {failed.error}")
    if failed.stage == "forward":
        if any(s in failed.error for s in _BACKEND):
            return SmokeCheck(mode, "skip", f"it cannot be run here: {failed.error}")
        if "FSDP expects" in failed.error:  # it looks at the model when that runs first
            return SmokeCheck(mode, "skip", f"{title} does not take the model: {failed.error}")
        figure, help_ = f"forward or backward fails under {title}: {failed.error}", ""
    elif failed.stage == "optimizers":
        figure = f"no optimizers can be made under {title}: {failed.error}"
        help_ = "names begin with module. there: compare what follows it" if mode == "ddp" else ""
    elif failed.stage == "other":
        figure, help_ = failed.error, ""
    elif failed.stage == "groups":
        figure = f"the groups are not the same on all ranks: {failed.error}"
        help_ = "make the groups of names, shapes and modules alone, not of the rank"
    else:
        known = {p.name: p for p in subject.inventory.parameters}
        found = [known[n] for n in known if n in names]
        names = tuple(p.name for p in found)
        figure = f"the step fails under {title}: {failed.error}"
        help_ = ""
        if found:
            more = f", and on {len(found) - 1} more" if len(found) > 1 else ""
            figure = f"the step fails under {title} on {found[0].name} {tuple(found[0].shape)}{more}: {failed.error}"
            code = _code(subject, found[0])
        if code == "PML204":
            help_ = "it is no matrix: move it to the AdamW half"
    return SmokeCheck(mode, "fail", figure, names, code, help=help_)


def _code(subject: Subject, p: Parameter) -> str:
    place = subject.place(p.name)
    if place is not None and place.half == "muon" and sum(d > 1 for d in p.shape) < 2:
        return "PML204"
    codes = subject.codes(p.name)
    return codes[0] if codes else ""


def _compared(subject: Subject, mode: Mode, outcome: Outcome, where: str) -> SmokeCheck:
    """The verdict on a step that was made."""
    title = TITLES[mode]
    wrong = [d for d in outcome.differences if d.counts]
    between = outcome.ranks or {}
    details = [*outcome.regrouped, *outcome.remarks]
    noise = sum(d.noise and not d.update <= d.allowed for d in outcome.differences)
    if noise:
        details.append(f"{noise} not compared: their gradient is rounding error")
    details.append(f"{title}: step in {outcome.seconds:.2f} s")
    names = dict.fromkeys((*(d.name for d in wrong), *between))
    if names:
        order = tuple(p.name for p in subject.inventory.parameters if p.name in names)
        if between:
            worst = max(between, key=lambda n: between[n])
            figure = f"{len(between)} parameters differ between ranks after the step, {worst} by {between[worst]:.2g}"
            help_ = "make the groups of names, shapes and modules alone, not of the rank"
        else:
            first = max(wrong, key=lambda d: d.update)
            figure = f"{len(wrong)} updates are not those of one process: {first.name} by {_percent(first.update)}"
            help_ = ""
        if wrong and any(d.gradient > MUON for d in wrong):
            details.append("their gradients differ already: the loss or the model depends on how it is run")
        lost = any(line.startswith("in no group") for line in outcome.regrouped)
        if outcome.regrouped:
            details.insert(0, figure)
            figure = outcome.regrouped[0]
            help_ = f"the names that {title} gives are not those that the groups are made of: strip its prefix"
        return SmokeCheck(mode, "fail", figure, order, "PML101" if lost else "", tuple(details), help_)
    muon = frozenset(p.name for p in subject.inventory.parameters if _is_muon(subject, p.name))
    parts = [
        part
        for half, allowed, among in (
            ("Muon", MUON, lambda d: d.name in muon),
            ("elementwise", ELEMENTWISE, lambda d: d.name not in muon),
        )
        if (part := _part(half, allowed, outcome.differences, among))
    ]
    return SmokeCheck(mode, "pass", f"{where}: {'; '.join(parts)}", details=tuple(details))


def _part(half: str, allowed: float, all_: Sequence[Difference], among: Callable[[Difference], bool]) -> str:
    """`Muon updates differ by up to 1.4 % along the gradient (h.0.mlp.c_fc.weight; 10 % allowed)`."""
    found = [d for d in all_ if among(d) and not d.noise]
    if not found:
        return ""
    largest = max(found, key=lambda d: d.update)
    if largest.update == 0:
        return f"{half} updates the same"
    along = " along the gradient" if half == "Muon" else ""
    allowing = f"{largest.name}; {_percent(allowed)} allowed"
    return f"{half} updates differ by up to {_percent(largest.update)}{along} ({allowing})"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _whole(subject: Subject) -> Profile | None:
    """The profile of an optimizer in use that is known not to take sharded parameters."""
    profiles = (p.profile for p in subject.context.placements)
    return next((p for p in profiles if p is not None and p.fsdp == "none"), None)


def _reason(profile: Profile) -> str:
    """What the profile says of it."""
    lines = [s.strip() for n in (*profile.notes, *profile.known_bugs) for s in n.split(". ") if "FSDP" in s]
    return lines[0].rstrip(".") if lines else f"{profile.name} does not work with sharded parameters"
