"""Writes worksheets of reasoning_gym as JSON lines; run by an interpreter that has it.

usage: reasoning_worker.py BYTES OUTPUT GENERATOR...
"""

import json
import sys
from collections.abc import Iterator
from itertools import count

import reasoning_gym  # type: ignore[import-not-found]

SHEET_BYTES = 3000
BATCH = 500  # problems per seed
BATCHES_WITHOUT_NEWS = 3  # a generator that only repeats itself is exhausted


def problems(generator: str) -> Iterator[str]:
    seen: set[str] = set()
    stale = 0
    for seed in count():
        known = len(seen)
        for item in reasoning_gym.create_dataset(generator, size=BATCH, seed=seed):
            if item["question"] not in seen and item["answer"] is not None:
                seen.add(item["question"])
                solution = item["metadata"].get("answer_cot") or item["answer"]
                yield f"{item['question'].strip()}\nAnswer: {str(solution).strip()}"
        stale = stale + 1 if len(seen) - known < BATCH // 20 else 0
        if stale == BATCHES_WITHOUT_NEWS:
            return


def worksheets(generator: str) -> Iterator[str]:
    """Pages of problems; instructions that a page already gave are not repeated on it."""
    sheet: list[str] = []
    lines: set[str] = set()
    size = 0
    for problem in problems(generator):
        first, *rest = problem.split("\n")
        kept = [first, *(line for line in rest if len(line) < 40 or line not in lines)]
        lines.update(rest)
        sheet.append("\n".join(kept))
        size += len(sheet[-1].encode())
        if size >= SHEET_BYTES:
            yield "\n\n".join(sheet)
            sheet, lines, size = [], set(), 0


def main(limit: int, path: str, generators: list[str]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for generator in generators:
            written = 0
            for text in worksheets(generator):
                sheet = {"topic": generator, "task": generator, "text": text}
                file.write(json.dumps(sheet, ensure_ascii=False) + "\n")
                written += len(text.encode())
                if written >= limit // len(generators):
                    break


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
