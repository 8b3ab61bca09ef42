"""What two traces, or two parts of one, differ in: the figures of the page Compare as a table.

    routescope quantize data/checkpoint --out int8
    routescope demo --model int8 --out traces/int8.duckdb
    python -m benchmarks.bench_compare traces/demo.duckdb traces/int8.duckdb
    python -m benchmarks.bench_compare traces/talk.duckdb --part phase:prefill phase:decode

Prints Markdown; benchmarks/results/compare-*.md have such tables, with what the traces are.
"""

import argparse
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.groups import NOT_ENOUGH
from analysis.significance import MAX_Q
from app.parts import open_part
from app.studies.comparing import Comparison, compared, names, side_of, subjects
from data.labels import ALL

FIGURES = {  # of flips; as the table calls them
    "flip_rate": "decisions that choose another set",
    "choices_exchanged": "choices exchanged",
    "first_choice_changed": "first choice changed",
    "mean_jaccard": "overlap of the sets (Jaccard)",
    "order_reversed": "pairs of kept experts reversed",
    "weight_distance": "distance of the weights",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("other", type=Path, nargs="?")
    parser.add_argument("--part", nargs=2, default=())
    of = parser.parse_args()
    compared_with = subjects(of.trace, [of.other] if of.other else [], of.part)
    (one, first), (two, second) = compared_with
    start = time.process_time()
    with open_part(one, first) as con, open_part(two, second) as other:
        names_of = names(compared_with)
        found = compared(side_of(con, one, names_of[0]), side_of(other, two, names_of[1]))
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{found.found.in_words()}\n")
    print("\n".join([*sums(found), "", *tokens(found)]))
    print(f"\n{seconds:.1f} s of a processor, {peak:.2f} GB at most.")


def sums(of: Comparison) -> list[str]:
    """Loads, lifts, figures of layers; loss and gate."""
    lines = [f"| | changed (q < {MAX_Q}) | tested |", "|---|---|---|"]
    for name, table in (
        ("loads of experts", of.found.loads),
        ("lifts of experts and domains", of.found.lifts),
        ("figures of layers", of.found.figures),
    ):
        if table is None:
            lines.append(f"| {name} | not compared | |")
            continue
        tested = int(table.q.notna().sum())
        said = f"{(table.q < MAX_Q).sum():,}" if tested else NOT_ENOUGH
        lines.append(f"| {name} | {said} | {tested:,} |")
    lines += ["", "| | first | second | second less first | 95 % |", "|---|---|---|---|---|"]
    table = of.found.per_token
    rows = table if table.empty else table[table.layer_id.isna() & (table.domain == ALL)]
    for row in rows.to_dict("records"):
        span = "" if pd.isna(row["low"]) else f"{row['low']:+.5f} to {row['high']:+.5f}"
        values = f"{row['first']:.4f} | {row['second']:.4f} | {row['estimate']:+.5f}"
        lines.append(f"| {row['figure']} | {values} | {span} |")
    return lines


def tokens(of: Comparison) -> list[str]:
    """Flips, beside unrelated routers."""
    if of.matched is None:
        return [f"Token by token: {of.unmatched}."]
    table = of.matched.flips
    rows = table[table.by == "all"].set_index("figure")
    lines = [of.matched.said]
    own = of.matched.match_table()
    matched = int(own.other_expert_id.notna().sum())
    lines.append(f"{matched:,} of {len(own):,} experts correspond above chance. {of.named}")
    lines += ["", "| | share | 95 % | unrelated routers |", "|---|---|---|---|"]
    for name, title in FIGURES.items():
        if name in rows.index:
            row = rows.loc[[name]].to_dict("records")[0]
            lines.append(f"| {title} | {_shares(row)} | {row['unrelated']:.2%} |")
    differ = of.matched.differ
    lines.append(
        f"| {of.matched.by} that differ in a layer or more | {_shares(dict(differ))} | "
        f"{differ['unrelated']:.2%} |"
    )
    lines.append(f"| the same, if layers were independent | {differ['independent']:.2%} | | |")
    return [*lines, *by_margin(of.matched.margins)]


def by_margin(margins: pd.DataFrame) -> list[str]:
    """Empty where none is known."""
    if margins.empty:
        return []
    lines = ["", "| margin of the first | decisions | flip rate | 95 % |", "|---|---|---|---|"]
    for row in margins.to_dict("records"):
        ends = f"{row['above']:.0e} to {row['up_to']:.0e}"
        lines.append(f"| {ends} | {row['share']:.2%} | {_shares(row)} |")
    return lines


def _shares(row: Mapping[Any, Any]) -> str:
    span = "" if pd.isna(row["low"]) else f"{row['low']:.2%} to {row['high']:.2%}"
    return f"{row['estimate']:.2%} | {span}"


if __name__ == "__main__":
    main()
