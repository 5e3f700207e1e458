"""Starts the processes of a distributed smoke step, listens to them, and ends them.

They are those of `torch.multiprocessing.start_processes`, and stay in the process group of the one that starts them:
what kills that group kills them, and on Linux they die with their parent. (`torch.distributed.run` starts each rank in
a session of its own, where a kill of the group does not reach it.) They meet at a store on a free port of the loopback
device, which is the parent's: no files are written.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.multiprocessing import start_processes  # type: ignore[attr-defined]

HOST = "127.0.0.1"
HOME = str(Path(__file__).resolve().parents[2])


class Ranks:
    """The processes, while they run. `at` has what each said last that it is doing; `deadline` is that of
    `time.monotonic` after which nobody listens, and may be changed meanwhile."""

    def __init__(self, readers: Sequence[Connection], processes: Sequence[Any], deadline: float) -> None:
        self.readers, self.processes, self.deadline = list(readers), list(processes), deadline
        self.at = [""] * len(self.processes)

    def messages(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """What they say, with the rank that says it, until all have ended or it is too late."""
        open_ = dict(zip(self.readers, range(len(self.readers)), strict=True))
        while open_:
            ready = wait(list(open_), max(self.deadline - time.monotonic(), 0.0))
            if not ready:
                return
            for reader in ready:
                assert isinstance(reader, Connection)
                rank = open_[reader]
                try:
                    said = json.loads(reader.recv_bytes())
                except (EOFError, OSError):
                    del open_[reader]
                    continue
                if "at" in said:
                    self.at[rank] = said["at"]
                else:
                    yield rank, said

    def ended(self, rank: int) -> str:
        """How a process ended that had more to say; "" for one that still runs."""
        process = self.processes[rank]
        process.join(0.5)
        code = process.exitcode
        if code is None:
            return ""
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


@contextmanager
def started(
    main: Callable[..., None], arguments: Callable[[int], tuple[Any, ...]], count: int, deadline: float
) -> Iterator[Ranks]:
    """Runs `main(rank, writers, *arguments(port))` in each of `count` processes; they are killed when the context is
    left, however it is.

    Args:
        main: a function that can be imported; `writers[rank]` is what it talks through.
        arguments: what else it is given, for the port of the store where they meet.

    Raises:
        OSError: no port, or no process can be had.
    """
    spawning = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pipes = [spawning.Pipe(duplex=False) for _ in range(count)]
    readers, writers = [r for r, _ in pipes], [w for _, w in pipes]
    store = None
    try:
        store, port = _store()
        with _importable():
            context = start_processes(  # type: ignore[no-untyped-call]
                main, (writers, *arguments(port)), nprocs=count, join=False, start_method="spawn"
            )
        for writer in writers:
            writer.close()
        yield Ranks(readers, context.processes, deadline)
    finally:
        # also those that were started when starting was interrupted
        ours = set(multiprocessing.active_children()) - before
        for process in ours:
            process.kill()
        for process in ours:
            process.join()
        for end in (*readers, *writers):
            with suppress(OSError):
                end.close()
        del store


def _store() -> tuple[Any, int]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        store = TCPStore(HOST, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    return store, port


@contextmanager
def _importable() -> Iterator[None]:
    """The children import the paramlint that asks, as a worker does: its folder is not in their path afterwards."""
    sys.path.insert(0, HOME)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(HOME)
