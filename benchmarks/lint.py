"""Time and memory that `paramlint check` takes over sources: one changed script, and whole folders.

    python benchmarks/lint.py train.py other.py          # each in turns with `python -c "import click"`
    python benchmarks/lint.py --folder site-packages     # all of a folder, in one process
    python benchmarks/lint.py --slowest 20 --folder src  # the files of it that take longest

Scripts are measured in turns, so that a busy machine slows all alike; what is told is the median, with the least beside
it. Bytecode is written to a folder of its own first, as an installed package has it. The knowledge is kept there too.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

Times = list[tuple[float, float]]
_FLOOR = ("-c", "import click")
_PEAK = (
    "import resource, sys\n"
    "from paramlint.cli.main import main\n"
    "try:\n    main()\nexcept SystemExit:\n    pass\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)"
)


def once(arguments: tuple[str, ...], env: dict[str, str]) -> tuple[float, float, str]:
    """Seconds of wall clock and of the processor, and the last line on stderr."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, worked, (done.stderr.splitlines() or [""])[-1]


def scripts(paths: list[str], turns: int, env: dict[str, str]) -> None:
    cases = {"import click": _FLOOR, **{p: ("-m", "paramlint", "check", p) for p in paths}}
    times: dict[str, Times] = {name: [] for name in cases}
    for turn in range(turns + 1):
        for name, arguments in cases.items():
            wall, worked, _ = once(arguments, env)
            times[name] += [(wall, worked)] if turn else []
    print(f"{'ms, median (least)':<50} {'wall':>16} {'cpu':>16}")
    for name, found in times.items():
        columns = [f"{_ms(statistics.median(c))} ({_ms(min(c))})" for c in zip(*found, strict=True)]
        print(f"{name[-50:]:<50} {columns[0]:>16} {columns[1]:>16}")
    floor = statistics.median(wall for wall, _ in times["import click"])
    print(f"three times the first and 100 ms: {_ms(3 * floor + 0.1)}")


def folder(path: str, env: dict[str, str]) -> None:
    wall, worked, peak = once(("-c", _PEAK, "check", "--isolated", "-q", path), env)
    count = sum(1 for _ in Path(path).rglob("*.py"))
    print(f"{path}: {count:,} files, {wall:.1f} s wall, {worked:.1f} s cpu, {float(peak):.0f} MB")


def slowest(path: str, count: int) -> None:
    """In this process, file by file."""
    from paramlint import knowledge
    from paramlint.linting import Linter
    from paramlint.registry import RULES
    from paramlint.source.interpreter import disk
    from paramlint.source.reading import concerns

    linter, codes = Linter(knowledge.load), [r.code for r in RULES]
    times = []
    with disk.shared():
        for place in sorted(Path(path).rglob("*.py")):
            data = place.read_bytes()
            if concerns(data):
                began = time.process_time()
                linter.file(data, str(place), codes)
                times.append((time.process_time() - began, str(place)))
    print(f"{len(times):,} files are read, in {sum(t for t, _ in times):.1f} s cpu")
    for seconds, name in sorted(times, reverse=True)[:count]:
        print(f"{seconds:8.2f} s {name}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--folder")
    parser.add_argument("--slowest", type=int, metavar="N")
    options = parser.parse_args()
    if options.folder and options.slowest:
        slowest(options.folder, options.slowest)
        return
    with tempfile.TemporaryDirectory() as own:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": own, "PARAMLINT_CACHE_DIR": own, "PYTHONDONTWRITEBYTECODE": ""}
        if options.scripts:
            scripts(options.scripts, options.turns, env)
        if options.folder:
            folder(options.folder, env)


if __name__ == "__main__":
    main()
