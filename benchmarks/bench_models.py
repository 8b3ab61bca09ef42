"""Models of transformers: who says what ran, and what a capture costs.

    python -m benchmarks.bench_models agreement --peer lens=PYTHON --peer policylang=PYTHON ...
    python -m benchmarks.bench_models overhead

The first lets every tool read a tiny model of each family and compares what it says with what
plain hooks on the experts see in the same forward; PYTHON is the interpreter of an environment
that has the tool. The second is of the CPU; benchmarks/bench_models_gpu.py is of a GPU. Prints
Markdown.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.models.agreement import Agreement, agreement, run_driver, save_families, versions
from benchmarks.models.overhead import BARE, STORED, overhead
from benchmarks.models.subjects import SUBJECTS, subject
from tests.families.found import Family, families

BAR = 10  # percent over the bare forward
TEXTS = ["The cube root of 27 is 3: 3*3*3.", "def f(x, y): return [x]*y + 'ab'"]  # 32 bytes each
PEERS = ("routescope", "transformers", "lens", "policylang", "moewatch", "plumb")
OWN = ("routescope", "transformers")  # run by the interpreter that runs this


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("agreement", "overhead"))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    print(f"    {' '.join(['python -m benchmarks.bench_models', *sys.argv[1:2]])}\n")
    if arguments.part == "agreement":
        pythons = {name: Path(sys.executable) for name in OWN}
        pythons |= {
            name: Path(path) for name, _, path in (x.partition("=") for x in arguments.peer)
        }
        print_agreement(pythons)
        return
    torch.set_num_threads(arguments.threads)
    print_overhead(arguments.tokens, arguments.repetitions)


def print_agreement(pythons: dict[str, Path]) -> None:
    if unknown := set(pythons) - set(PEERS):
        raise ValueError(f"{', '.join(sorted(unknown))} is no peer; give {', '.join(PEERS)}")
    with tempfile.TemporaryDirectory() as place:
        folders, out = Path(place) / "folders", Path(place) / "out"
        save_families(families(), folders)
        for name, python in pythons.items():
            run_driver(name, python, folders, TEXTS, out / name)
            print(f"- {name}: {', '.join(map(' '.join, versions(out / name).items()))}")
        found = {
            name: {family.name: agreement(out / name, family.name) for family in families()}
            for name in pythons
        }
    print_summary(found)
    print_families(found, families())


def print_summary(found: dict[str, dict[str, Agreement]]) -> None:
    print(
        "\n| tool | families read | all right | mean over all families | largest error of weights |"
    )
    print("|---|---|---|---|---|")
    for name, by_family in found.items():
        read = [one for one in by_family.values() if one.error is None]
        shares = [one.counted if one.share is None else one.share for one in read]
        errors = [one.weights for one in read if one.weights is not None]
        right = sum(share == 1 for share in shares if share is not None)
        mean = sum(share for share in shares if share is not None) / len(by_family)
        error = f"{max(errors):.1g}" if errors else "gives none"
        print(f"| {name} | {len(read)} of {len(by_family)} | {right} | {mean:.1%} | {error} |")


def print_families(found: dict[str, dict[str, Agreement]], listed: list[Family]) -> None:
    errors: dict[str, int] = {}
    print(f"\n| family | {' | '.join(found)} |\n|---|{'---|' * len(found)}")
    for family in listed:
        cells = [cell(family, by_family[family.name], errors) for by_family in found.values()]
        print(f"| {family.name} | {' | '.join(cells)} |")
    print()
    for error, number in errors.items():
        print(f"{number}. {error}")


def cell(family: Family, one: Agreement, errors: dict[str, int]) -> str:
    """An error stands below the table, once for all families that have it."""
    if one.error is not None:
        error = one.error.replace(family.model_class.__name__, "the model")
        error = re.sub(r"\S+/folders/\w+( \(\w+\))?", "its folder", error)[:200]
        return f"not supported ({errors.setdefault(error, len(errors) + 1)})"
    if one.counted is not None:
        return f"counts {one.counted:.1%}"
    weights = "" if one.weights is None else f", {one.weights:.1g}"
    return f"{one.share:.1%}{weights}"


def print_overhead(tokens: int, repetitions: int) -> None:
    print(f"{torch.get_num_threads()} threads, bar {BAR} %\n")
    for name, make in SUBJECTS.items():
        figures = overhead(subject(make), tokens=tokens, repetitions=repetitions)
        print(f"{name}: {figures.tokens:,} tokens, {figures.padded:,} with padding; load average")
        print(f"{os.getloadavg()[0]:.1f}. Medians of {repetitions} repetitions in turns.\n")
        print("| | CPU s | wall s | over bare, CPU | over bare, wall | lowest to highest, wall |")
        print("|---|---|---|---|---|---|")
        for variant, (wall, cpu) in figures.seconds.items():
            over = figures.over[variant]
            spread = f"{over.lowest:.1f} to {over.highest:.1f} %"
            print(f"| {variant} | {cpu:.1f} | {wall:.1f} | {over.cpu:.1f} % ", end="")
            print(f"| {over.wall:.1f} % | {spread} |")
        print(f"\n{STORED} over {BARE} and loss: {figures.over_loss.cpu:.1f} % of CPU time\n")


if __name__ == "__main__":
    main()
