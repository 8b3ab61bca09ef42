"""Commands killed with SIGKILL at a random time, and run again.

What a command has said to be committed may not be lost; what it makes in the end is what a run
makes that nobody disturbs, and nothing else is left in its folder.
"""

import multiprocessing
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.faults.small_commands import PRELOADED, Command, made_commands, work_in
from data.connection import connect
from data.trace_paths import partial_path

PROCESSES = multiprocessing.get_context("forkserver")
SHOWN = 10  # of what went wrong


@dataclass(slots=True)
class Outcomes:
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    def add(self, what: str, command: Command, seconds: float, line: str) -> None:
        self.counts[what] += 1
        self.lines.append(f"{what}: {command.name} killed after {seconds:.3f} s: {line}")


def run(count: int, seed: int, work: Path) -> dict[str, int | float]:
    """`count` kills over the commands in turn."""
    PROCESSES.set_forkserver_preload(list(PRELOADED))
    draw = random.Random(seed)
    commands = made_commands(work, once)
    undisturbed = {command.name: measured(command, work) for command in commands}
    outcomes = Outcomes()
    for number in range(count):
        command = commands[number % len(commands)]
        expected = undisturbed[command.name]
        folder = work / "killed"
        killed_after = kill(command, folder, expected.seconds, draw)
        judge(command, folder, expected, killed_after, outcomes)
        shutil.rmtree(folder)
    print(*outcomes.lines[:SHOWN], sep="\n", end="\n" * bool(outcomes.lines), file=sys.stderr)
    counted = ("resumed", "lost", "doubled", "torn", "leftovers")
    return {"kills": count, **{name: outcomes.counts[name] for name in counted}}


# one command in one process


def started(folder: Path, arguments: Sequence[str]) -> multiprocessing.process.BaseProcess:
    process = PROCESSES.Process(target=work_in, args=(folder, tuple(arguments)))
    process.start()
    return process


def once(work: Callable[..., None], *given: object) -> None:
    process = PROCESSES.Process(target=work, args=given)
    process.start()
    process.join()
    assert process.exitcode == 0, work


def acknowledged(folder: Path) -> int:
    path = folder.with_suffix(".committed")
    return max(map(int, path.read_text().split()), default=0) if path.is_file() else 0


# what happens to it


class Undisturbed(NamedTuple):
    contents: dict[str, object]
    names: set[str]  # of all files
    seconds: float


def measured(command: Command, work: Path) -> Undisturbed:
    """Of a run that nobody disturbs; the first one warms up."""
    for attempt in ("first", "undisturbed"):
        folder = fresh(command, work / f"{command.name}-{attempt}")
        begun = time.perf_counter()
        finish(command, folder, ())
        seconds = time.perf_counter() - begun
    return Undisturbed(command.contents(folder / command.result), names(folder), seconds)


def fresh(command: Command, folder: Path) -> Path:
    for left in (folder.with_suffix(".output"), folder.with_suffix(".committed")):
        left.unlink(missing_ok=True)
    shutil.copytree(command.inputs, folder)
    return folder


def finish(command: Command, folder: Path, more: tuple[str, ...]) -> None:
    process = started(folder, [*command.arguments, *more])
    process.join()
    if process.exitcode:
        raise ValueError(folder.with_suffix(".output").read_text().strip().splitlines()[-1])


def kill(command: Command, folder: Path, seconds: float, draw: random.Random) -> float:
    """Drawn within what a whole run takes; where the command was faster, drawn anew."""
    while True:
        fresh(command, folder)
        after = draw.uniform(0, seconds)
        process = started(folder, command.arguments)
        process.join(after)
        process.kill()
        process.join()
        if process.exitcode == -9:
            return after
        shutil.rmtree(folder)


def judge(
    command: Command, folder: Path, expected: "Undisturbed", killed_after: float, outcomes: Outcomes
) -> None:
    report = partial(outcomes.add, command=command, seconds=killed_after)
    try:
        options = what_is_kept(command, folder, report)
        outcomes.counts["resumed"] += acknowledged(folder) > 0
        if command.repeats or not (folder / command.result).exists():
            finish(command, folder, options)
        contents, left = command.contents(folder / command.result), names(folder)
    except Exception as error:
        report("torn", line=f"{type(error).__name__}: {error}")
        return
    if differing := [name for name, whole in expected.contents.items() if contents[name] != whole]:
        report("torn", line=f"{', '.join(differing)} differ from those of a run left alone")
    if more := left - expected.names:
        report("leftovers", line=", ".join(sorted(more)))


def what_is_kept(command: Command, folder: Path, report: Callable[..., None]) -> tuple[str, ...]:
    """Checks what was acknowledged; the options that the next run needs."""
    safe, result = acknowledged(folder), folder / command.result
    if command.name == "train":
        kept = saved_step(result)
    elif command.name == "capture" and not result.exists():
        if not partial_path(result).exists():
            kept = 0
        else:
            with connect(partial_path(result), read_only=True) as con:
                [(kept, different)] = con.execute(
                    "SELECT count(*), count(DISTINCT doc_id) FROM document"
                ).fetchall()
            if kept > different:
                report("doubled", line=f"{kept} documents, {different} of them different")
    else:
        return ()
    if kept < safe:
        report("lost", line=f"{safe} were acknowledged, {kept} are there")
    return command.resumed_with if partial_path(result).exists() else ()


def saved_step(training: Path) -> int:
    from safetensors import safe_open

    progress = training / "progress.safetensors"
    if not progress.exists():
        return 0
    with safe_open(str(progress), "np") as file:
        return int(file.metadata()["step"])


def names(folder: Path) -> set[str]:
    """Of all files, hidden ones too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
