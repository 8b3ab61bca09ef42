"""Writes worksheets of mathematics_dataset as JSON lines; run by an interpreter that has it.

The package needs releases of sympy and numpy that nothing else here can use, so the corpus builder
runs this file in an environment of its own. usage: mathematics_worker.py BYTES OUTPUT
"""

import json
import random
import sys
from collections.abc import Callable, Iterator

import numpy as np
from mathematics_dataset import generate  # type: ignore[import-not-found]
from mathematics_dataset.generate import flags  # type: ignore[import-not-found]

SPLITS = ("train-easy", "train-medium", "train-hard")
SLOW = "probability"  # two modules that take half of the time of all 56
PROBLEMS_PER_SHEET = 40
FAILURES = (  # of modules that the pinned sympy does not fit
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    AssertionError,
)
SHEET_CHARACTERS = 3000


def worksheet(module: Callable[[], object]) -> str | None:
    """Problems of one module, or nothing where it fails with the pinned sympy."""
    problems: list[str] = []
    while len(problems) < PROBLEMS_PER_SHEET and sum(map(len, problems)) < SHEET_CHARACTERS:
        try:
            problem = generate.sample_from_module(module)[0]
        except FAILURES:
            return None
        problems.append(f"{str(problem.question).strip()}\nAnswer: {problem.answer}\n")
    return "\n".join(problems)


def worksheets() -> Iterator[dict[str, str]]:
    flags.FLAGS(["mathematics_worker"])  # the package reads them
    generate.init_modules(True)
    while True:
        for split in SPLITS:
            for name, module in sorted(generate.filtered_modules[split].items()):
                if SLOW not in name and (text := worksheet(module)):
                    task = name.removesuffix("_composed")  # the same problems, nested
                    yield {"topic": name.split("__")[0], "task": task, "text": text}


def main(limit: int, path: str) -> None:
    random.seed(20251)
    np.random.seed(20251)
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        for sheet in worksheets():
            file.write(json.dumps(sheet, ensure_ascii=False) + "\n")
            written += len(sheet["text"].encode())
            if written >= limit:
                return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
