"""What it costs to take experts out of the shipped model, by every rule and at many thresholds.

    python benchmarks/bench_compress.py

Writes data/checkpoint/redundancy.npz and compression.csv, which the page Redundancy reads, and
prints the table of benchmarks/results/compression_*.md. Rules that remove the same experts are run
once.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.comparison import change_table
from analysis.redundancy import CLOSED, SIMILARITIES
from analysis.stability import Choices, changed_choices
from app.studies import redundancy
from app.studies.compression.costs import gate_choices
from app.studies.compression.plan import plan_of
from app.studies.compression.result import FILE
from app.studies.compression.rule import SALIENCY, How, Rule
from app.studies.compression.texts import unseen_texts
from app.studies.reader import CHECKPOINT, HELDOUT, Tracer, load_tracer, own_model
from app.studies.redundancy import Redundancy
from app.studies.scoring import text_nats
from data.report import csv_text
from data.routing import Document
from model.compress import prune
from model.counting import count

THRESHOLDS = [round(0.5 + 0.05 * step, 2) for step in range(10)]
SHARES = (0.125, 0.25)  # removed whatever the similarity: the threshold that takes so many
HOWS: tuple[How, ...] = ("drop", "merge")
CHARACTERS = 1_500  # of each text: about 400 tokens
RANDOM = "random"  # the control of saliency
SEED = 0


class Trial(NamedTuple):
    by: str
    how: How
    threshold: float | None
    share: float | None
    leader_LE: np.ndarray


def trials(found: Redundancy) -> Iterator[Trial]:
    for by in SIMILARITIES:
        steps: list[tuple[float, float | None]] = [(threshold, None) for threshold in THRESHOLDS]
        steps += [(threshold_for(found, by, share), share) for share in SHARES]
        for threshold, share in steps:
            leader_LE = Rule(by=by, threshold=threshold).leaders(found)
            for how in HOWS:
                yield Trial(by, how, threshold, share, leader_LE)
    for share in SHARES:
        salient = Rule(by=SALIENCY, share=share)
        yield Trial(SALIENCY, "drop", None, share, salient.leaders(found))
        rng = np.random.default_rng(SEED)
        drawn = replace(found, saliency_LE=rng.random(found.saliency_LE.shape))
        yield Trial(RANDOM, "drop", None, share, salient.leaders(drawn))


def threshold_for(found: Redundancy, by: str, share: float) -> float:
    """The highest at which so many of all experts go, every layer keeping enough to choose from."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        leader_LE = Rule(by=by, threshold=middle).leaders(found)
        gone = (leader_LE != np.arange(leader_LE.shape[1])).mean()
        low, high = (middle, high) if gone >= share else (low, middle)
    return low


def main(texts: int) -> None:
    started = time.perf_counter()
    tracer = load_tracer(CHECKPOINT)
    used = redundancy.calibration(tracer.model, HELDOUT, seed=SEED)
    found = redundancy.measure(tracer, used, seed=SEED)
    redundancy.store(CHECKPOINT, found)
    print_similarities(found)
    drawn = unseen_texts([item.document for item in used], texts=texts, seed=SEED)
    documents = [replace(document, text=document.text[:CHARACTERS]) for document in drawn]
    before_N = text_nats(tracer, [d.text for d in documents], on_progress=lambda done, total: None)
    chosen = gate_choices(tracer, documents)
    known: dict[tuple[str, bytes], pd.DataFrame] = {}
    tables = []
    for rule in trials(found):
        key: tuple[str, bytes] = (rule.how, rule.leader_LE.tobytes())
        if (rule.leader_LE == np.arange(rule.leader_LE.shape[1])).all():
            key = ("", b"")  # nothing removed
        if key not in known:
            known[key] = cost(tracer, found, rule, documents, before_N, chosen)
        asked = {"by": rule.by, "how": rule.how, "threshold": rule.threshold, "share": rule.share}
        tables.append(known[key].assign(**asked))
        print_rule(tables[-1])
    table = pd.concat(tables, ignore_index=True)
    first = ["by", "how", "threshold", "share"]
    table = table[[*first, *(name for name in table.columns if name not in first)]]
    path = CHECKPOINT / FILE
    path.write_text(csv_text(table), encoding="utf-8", newline="")
    print(f"{len(documents)} texts, {time.perf_counter() - started:.0f} s")


def cost(
    tracer: Tracer,
    found: Redundancy,
    rule: Trial,
    documents: list[Document],
    before_N: np.ndarray,
    chosen: Choices,
) -> pd.DataFrame:
    own = own_model(tracer)
    model = own.transformer
    if (rule.leader_LE != np.arange(rule.leader_LE.shape[1])).any():
        plan = plan_of(model, rule.leader_LE, found.tokens_LE, how=rule.how)
        model = prune(model, plan).bfloat16().float()  # as a file keeps it
    small = Tracer(tracer.folder, replace(own, transformer=model))
    after_N = before_N
    changed: float | None = 0.0
    if model is not own.transformer:
        texts = [document.text for document in documents]
        after_N = text_nats(small, texts, on_progress=lambda done, total: None)
        after = gate_choices(small, documents)
        flipped = changed_choices(chosen, after, documents)
        changed = flipped["estimate"]
    table = change_table(before_N, after_N, documents)
    leaders = [len(set(row.tolist()) - {CLOSED}) for row in rule.leader_LE]
    return table.assign(
        experts=sum(leaders),
        fewest=min(leaders),
        parameters=count(model.config).parameters,
        changed_choices=changed,
    )


def print_similarities(found: Redundancy) -> None:
    for by in SIMILARITIES:
        highest, layer = found.highest(by)
        null = found.null(by).mean()
        print(f"{by}: highest {highest:.3f} in layer {layer}; unrelated experts {null:.3f}")


def print_rule(table: pd.DataFrame) -> None:
    row = table[table.domain == "all"].iloc[0]
    threshold = "" if pd.isna(row.threshold) else f"{row.threshold:.3f}"
    share = "" if pd.isna(row.share) else f"{row.share:.1%}"
    print(
        f"| {row.by} | {row.how} | {threshold} | {share} | {row.experts} | {row.fewest} | "
        f"{row.parameters / 1e6:.2f} M | {row.after:.4f} | "
        f"{row.change:+.4f} ({row.low:+.4f} to {row.high:+.4f}) | {row.changed_choices:.1%} |",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, default=8, help="of each domain")
    main(parser.parse_args().texts)
