"""Damaged, foreign and stale results beside a small trace, through all pages by AppTest.

A tour of the pages has one mutated file of every kind. What belongs to another trace is marked,
so that it would be seen.
"""

import io
import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from streamlit.components.v2 import manifest_scanner
from streamlit.logger import set_log_level
from streamlit.testing.v1 import AppTest

from app import sidecars, workspace
from app.commands.information import information
from app.commands.project import project
from app.commands.summarize import summarize
from app.jobs import beside
from app.studies import ablation
from app.trace import Trace, open_trace
from app.views.export import tables as export
from app.workspace import trace_file
from data.report import csv_text
from data.sidecar import DIGEST_KEY, METADATA_KEY, Sidecar, sidecar_path
from data.sidecar_kind import Kind
from tests.app.pages import PAGES, page, words
from tests.cause_rows import cause_rows
from tests.sidecars import info_of
from tests.traces import write_tiny_trace

WORKERS = os.cpu_count() or 1
MARK, MARKED = "of another trace", 987_654  # as text and as a number
COUNTS = ("tokens", "n_documents", "n_groups", "n_tokens", "n_choices")
Mutate = Callable[[random.Random, Path, "Whole"], None]


class Whole:
    """A sidecar before it is mutated."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        table = pq.read_table(path)
        self.told = json.loads(table.schema.metadata[METADATA_KEY])
        self.frame = table.replace_schema_metadata().to_pandas()

    def marked(self) -> pd.DataFrame:
        """As another trace would have left it."""
        texts = {name: MARK for name in self.frame.select_dtypes("str") if name not in FIXED}
        counts = dict.fromkeys(set(COUNTS) & set(self.frame), MARKED)
        return self.frame.assign(**texts, **counts)


FIXED = ("group", "check")  # words that say what a row is


def run(count: int, seed: int, work: Path) -> dict[str, int | float]:
    """tried: mutated files; pages: runs of a page; refused and read: what the reader said; torn:
    read although changed; stale: shown of another trace; uncaught: exceptions of pages, tables."""
    base = work / "base"
    base.mkdir(parents=True)
    trace = base / "tiny.duckdb"
    write_tiny_trace(trace)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        project(trace)
        summarize(trace)
        information(trace)
    ablation.store(trace, info_of(trace), cause_rows(), {})
    tours = -(-count // len(sidecars.KINDS))
    parts = [range(start, tours, WORKERS) for start in range(WORKERS)]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        tour_all = partial(_tours, base=base, seed=seed)
        results = list(pool.map(tour_all, parts, [work / str(n) for n in range(WORKERS)]))
    counted = sum((result for result, _ in results), Counter[str]())
    for line in [line for _, lines in results for line in lines][:20]:
        print(line, file=sys.stderr)
    names = ("tried", "pages", "refused", "read", "torn", "stale", "uncaught")
    return {name: counted[name] for name in names}


def _tours(
    numbers: range, folder: Path, *, base: Path, seed: int
) -> tuple[Counter[str], list[str]]:
    """In a process of its own, with a workspace that has this trace, no model and no training."""
    folder.mkdir()
    for name in ("TRACES", "MODEL", "RUNS"):
        os.environ[f"ROUTESCOPE_{name}"] = str(folder / name.lower())
    shutil.copytree(base, folder / "traces")
    paths = {kind: sidecar_path(base / "tiny.duckdb", kind) for kind in sidecars.KINDS}
    whole = {kind: Whole(path) for kind, path in paths.items() if path.is_file()}
    trace = open_trace(trace_file(folder / "traces" / "tiny.duckdb"))
    counted, lines = Counter[str](), list[str]()
    scan_once = cache(manifest_scanner.scan_component_manifests)  # which takes longer than a page
    set_log_level("error")
    with (
        patch.object(manifest_scanner, "scan_component_manifests", scan_once),
        patch.object(workspace, "SHIPPED_TRAININGS", folder / "stages"),
        patch.object(beside, "_to_make", lambda trace, kinds: False),  # nothing is made again
    ):
        for number in numbers:
            rng = random.Random(f"{seed}|{number}")
            names = {kind: _mutate(rng, trace, kind, of) for kind, of in whole.items()}
            tour = {kind.name: name for kind, name in names.items()}
            for kind, name in names.items():
                counted += _read(trace, kind, whole[kind].frame, name)
            for what, fault in _faults(rng, trace, counted):
                counted[fault.split(":")[0]] += 1
                lines.append(f"{seed}|{number} {what}: {fault}; {tour}")
    return counted, lines


def _read(trace: Trace, kind: Kind, before: pd.DataFrame, mutation: str) -> Counter[str]:
    """What the reader makes of it. Only what is wrong under the right signature may differ."""
    stored = trace.beside(kind)
    if not isinstance(stored, Sidecar):
        return Counter(tried=1, refused=1)
    same = stored.frame.equals(before) or mutation in ("wild", "wrong_table")
    return Counter(tried=1, read=1, torn=int(not same))


def _faults(rng: random.Random, trace: Trace, counted: Counter[str]) -> list[tuple[str, str]]:
    """(what ran, `uncaught` or `stale`: why) of all pages and of the tables that are exported."""
    faults = []
    for name in PAGES:
        for what in sidecars.MAPS if name == "domain_clusters" else [""]:
            colour = rng.choice(["domain", "cluster", "expert"])
            query = {"points": what, "colour": colour} if what else {}
            app = page(name, **query)
            counted["pages"] += 1
            faults += [(name, f"uncaught: {error.message}") for error in app.exception]
            if _is_marked(_shown(app)):
                faults.append((name, "stale"))
    for name, (_, table) in export.tables(trace).items():
        try:
            if _is_marked(csv_text(table())):
                faults.append((name, "stale"))
        except Exception as error:  # whatever a page would show as a traceback
            faults.append((name, f"uncaught: {error!r}"))
    return faults


def _shown(app: AppTest) -> str:
    frames = [table.value.to_csv() for table in app.dataframe]
    return " ".join([words(app), *(block.value for block in app.code), *frames])


def _is_marked(text: str) -> bool:
    return MARK in text or str(MARKED) in text or f"{MARKED:,}" in text


def _mutate(rng: random.Random, trace: Trace, kind: Kind, whole: Whole) -> str:
    """One mutation in place of the sidecar; its name."""
    path = sidecar_path(trace.path, kind)
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    mutate = rng.choice(MUTATIONS)
    mutate(rng, path, whole)
    return mutate.__name__


def flipped(rng: random.Random, path: Path, whole: Whole) -> None:
    content = bytearray(whole.content)
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(rng: random.Random, path: Path, whole: Whole) -> None:
    path.write_bytes(whole.content[: rng.randrange(len(whole.content))])


def joined(rng: random.Random, path: Path, whole: Whole) -> None:
    """A piece is missing in the middle, or is there twice."""
    start, end = sorted(rng.randrange(len(whole.content)) for _ in range(2))
    piece = whole.content[start:end] * rng.choice([0, 2])
    path.write_bytes(whole.content[:start] + piece + whole.content[end:])


def foreign(rng: random.Random, path: Path, whole: Whole) -> None:
    whole.marked().to_parquet(path)


def other_trace(rng: random.Random, path: Path, whole: Whole) -> None:
    wrong = rng.choice(["another", "", None, 7, whole.told["trace_id"].upper() + " "])
    _write(path, whole.marked(), whole.told | {"trace_id": wrong})


def earlier(rng: random.Random, path: Path, whole: Whole) -> None:
    kept = {k: v for k, v in whole.told.items() if k not in ("version", "trace_id")}
    _write(path, whole.marked(), kept | {"created_at": "2026-01-02T03:04:05"}, signed=False)


def linked(rng: random.Random, path: Path, whole: Whole) -> None:
    target = path.parent.parent / "elsewhere.parquet"
    target.unlink(missing_ok=True)
    if rng.random() < 0.7:
        _write(target, whole.marked(), whole.told)
    path.symlink_to(target)


def folder(rng: random.Random, path: Path, whole: Whole) -> None:
    path.mkdir()


def garbage_words(rng: random.Random, path: Path, whole: Whole) -> None:
    """Metadata that is no JSON, or JSON of something else."""
    json_of_else = b'|{|null|7|"x"|[1]|{"trace_id": NaN}'.split(b"|")
    told = rng.choice([*json_of_else, b"\xff\xfe", b"[" * 100_000])
    _write_raw(path, pa.Table.from_pandas(whole.frame, preserve_index=False), told, signed=True)


def garbage_parameters(rng: random.Random, path: Path, whole: Whole) -> None:
    changed = rng.choice([name for name in whole.told if name != "trace_id"])
    value: object = rng.choice([None, "x", [], {}, -1, 1e300, True, {"nmi": "x"}])
    _write(path, whole.frame, whole.told | {changed: value})


def wrong_table(rng: random.Random, path: Path, whole: Whole) -> None:
    """Columns or rows that no such result has, signed as the right one."""
    frame, name = whole.frame, rng.choice(list(whole.frame))
    changes: list[Callable[[], pd.DataFrame]] = [
        lambda: frame.drop(columns=name),
        lambda: frame.rename(columns={name: "other"}),
        lambda: frame.assign(other=1),
        lambda: frame.assign(**{name: "words"}),
        lambda: frame.assign(**{name: None}),
        lambda: frame.assign(**{name: float("inf")}),
        lambda: frame.assign(**{name: 2**40}),
        lambda: frame.assign(**{name: -5}),
        lambda: frame.assign(**{name: [[1]] * len(frame)}),
        lambda: frame.head(0),
        lambda: frame.head(1),
        lambda: pd.concat([frame, frame], ignore_index=True),
        lambda: frame.iloc[::-1].reset_index(drop=True),
    ]
    _write(path, rng.choice(changes)(), whole.told)


def wild(rng: random.Random, path: Path, whole: Whole) -> None:
    """Any value that the type of a column can have, in every column or in one."""
    names = list(whole.frame) if rng.random() < 0.3 else [rng.choice(list(whole.frame))]
    drawn = np.random.default_rng(rng.randrange(2**32))
    frame, rows = whole.frame.copy(), len(whole.frame)
    for name in names:
        kind = frame[name].dtype.kind
        if kind == "f":
            frame[name] = drawn.choice([0.0, -1.0, 1e300, -1e300, 1e-320, np.nan, 0.5], rows)
        elif kind in "iu":
            frame[name] = drawn.choice([0, 1, 2, -1, 2**31, 2**62], rows)
        elif kind == "b":
            frame[name] = drawn.random(rows) < 0.5
        else:
            frame[name] = drawn.choice(["", "none", "math", "<b>", "\x00", "unlabelled"], rows)
    _write(path, frame, whole.told)


MUTATIONS: list[Mutate] = [
    flipped,
    flipped,
    cut,
    joined,
    foreign,
    other_trace,
    earlier,
    linked,
    folder,
    garbage_words,
    garbage_parameters,
    wrong_table,
    wrong_table,
    wild,
    wild,
]


def _write(path: Path, frame: pd.DataFrame, told: object, *, signed: bool = True) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    _write_raw(path, table, json.dumps(told).encode(), signed=signed)


def _write_raw(path: Path, table: pa.Table, told: bytes, *, signed: bool) -> None:
    digest = sha256(told).hexdigest().encode()
    metadata = {METADATA_KEY: told} | ({DIGEST_KEY: digest} if signed else {})
    pq.write_table(table.replace_schema_metadata(metadata), path)
