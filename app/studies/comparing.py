"""Two traces, or parts of one, compared in sums and, of the same texts, token by token."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import queries
from analysis.groups import NOT_ENOUGH
from analysis.significance import MAX_Q
from app import parts
from app.studies.compared import Compared, compare
from app.studies.expert_weights import MatchedModels, TracedModel, match_models
from app.studies.matched import MatchedTraces, matched_traces
from app.studies.naming import naming
from app.studies.sides import Side
from data.labels import ALL
from data.report import csv_text, records
from data.strict_json import json_text
from data.words import counted, decimals

MOST = 4  # traces or parts
Subject = tuple[Path, str]


def subjects(first: Path, others: Sequence[Path], of: Sequence[str]) -> list[Subject]:
    """The whole of several traces, or parts of one. ValueError: there are too few or too many, or
    both were given."""
    if others and of:
        raise ValueError(
            f"{others[0]} is another trace, and --part is of one; give one or the other"
        )
    found = [(first, part) for part in of] if of else [(path, "") for path in (first, *others)]
    if not 2 <= len(found) <= MOST:
        what = ("part", "parts") if of else ("trace", "traces")
        raise ValueError(
            f"found {counted(len(found), *what)} to compare; give two to four"
            + (" parts of it (--part)" if of else " traces")
        )
    if len(set(found)) < len(found):
        raise ValueError("one of them was given twice; give each once")
    kinds = {part.partition(":")[0] for _, part in found}
    if len(kinds) > 1 and kinds <= parts.KINDS:  # others are refused as no parts
        raise ValueError(
            f"parts of different kinds ({', '.join(sorted(kinds))}) have texts in common; give "
            "phases, domains or halves"
        )
    return found


def names(found: Sequence[Subject]) -> list[str]:
    """Of the file and the part; with the folder where files have the same name."""
    stems = [path.name.removesuffix(".duckdb") for path, _ in found]
    several = len({path for path, _ in found}) > len(set(stems))
    return [
        (str(path) if several else stem) + (f", {parts.in_words(part)}" if part else "")
        for (path, part), stem in zip(found, stems, strict=True)
    ]


def side_of(con: DuckDBPyConnection, path: Path, name: str) -> Side:
    """ValueError: it holds nothing."""
    info = replace(queries.trace_info(con), name=name)  # as sentences call it
    if not (info.num_tokens or info.counts_only):
        raise ValueError(f"{name} holds no tokens; capture some text")
    return Side(con, info, name, str(path))


@dataclass(frozen=True, slots=True)
class Comparison:
    first: str
    second: str
    found: Compared
    named: str  # by what experts of both are the same
    matched: MatchedTraces | None  # token by token
    unmatched: str  # why not
    weights: MatchedModels | None = None  # of the models, where they were given

    def tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """By name; without those that there are not."""
        of_sums = {
            "load_differences": self.found.loads,
            "lift_differences": self.found.lifts,
            "figure_differences": self.found.figures,
            "per_token_differences": self.found.per_token,
        }
        of_tokens = {}
        if self.matched is not None:
            of_tokens = {
                "flips": self.matched.flips,
                "flips_by_margin": self.matched.margins,
                "flipped_tokens": self.matched.tokens,
                "flips_by_token": self.matched.strings,
                "matched_experts": self.matched.match_table(),
            }
        if self.weights is not None:
            of_tokens["matched_experts_by_weights"] = self.weights.match_table()
        for name, table in (of_sums | of_tokens).items():
            if table is not None and len(table):
                yield name, table

    def lines(self) -> Iterator[str]:
        yield f"{self.first} -> {self.second}"
        yield f"  {self.found.in_words()}"
        for line in [self.named, *self.found.lacking]:
            if line:
                yield f"  {line}"
        for name in ("loads", "lifts", "figures"):
            table = getattr(self.found, name)
            if table is not None:
                tested, sure = int(table.q.notna().sum()), int((table.q < MAX_Q).sum())
                said = f"{sure:,} of {tested:,} changed (q < {MAX_Q})" if tested else NOT_ENOUGH
                if table.empty:
                    said = self._nothing_in(name)
                elif name == "loads" and (ended := ended_in_words(table)):
                    said += f"; {ended}"
                yield f"  {name}: {said}"
        for row in self._whole().to_dict("records"):
            form = f".{decimals(row['estimate'], row['low'], row['high'], least=4)}f"
            span = f" ({row['low']:+{form}} to {row['high']:+{form}})"
            yield (
                f"  {row['figure']}: {row['first']:{form}} -> {row['second']:{form}}, "
                f"{row['estimate']:+{form}}{span if row['low'] == row['low'] else ''}"
            )
        yield from self._token_lines()
        if self.weights is not None:
            yield f"  {self.weights.in_words(self.matched)}"

    def _nothing_in(self, name: str) -> str:
        renamed = self.matched is not None and self.matched.renamed
        if renamed and name != "figures":
            return "no expert of one is matched with one of the other"
        return "nothing is known in both"

    def _token_lines(self) -> Iterator[str]:
        if self.matched is None:
            yield f"  token by token: not compared, because {self.unmatched}"
            return
        of, rows = self.matched, self.matched.flips
        yield f"  token by token: {of.said}"
        rate = rows[(rows.by == "all") & (rows.figure == "flip_rate")]
        for row in rate.to_dict("records"):
            yield (
                f"  decisions that choose another set of experts: {_share(row)}, of unrelated "
                f"routers {row['unrelated']:.2%}"
            )
        differ = of.differ
        yield (
            f"  {of.by} that differ in at least one layer: {_share(differ)}, of unrelated routers "
            f"{differ['unrelated']:.2%}, if layers were independent {differ['independent']:.2%}"
        )

    def as_json(self) -> dict[str, object]:
        found = self.found
        value: dict[str, object] = {
            "first": self.first,
            "second": self.second,
            "paired": found.paired,
            "groups": list(found.num_groups),
            "sample": found.in_words(),
            "experts": self.named,
            "lacking": found.lacking,
            "changed": {
                name: {"changed": int((of.q < MAX_Q).sum()), "tested": int(of.q.notna().sum())}
                for name in ("loads", "lifts", "figures")
                if (of := getattr(found, name)) is not None
            },
            "per_token": records(
                self._whole().drop(columns=["layer_id", "domain"], errors="ignore")
            ),
            "weights": None if self.weights is None else self.weights.as_json(self.matched),
        }
        if self.matched is None:
            return value | {"tokens": None, "why": self.unmatched}
        rows = self.matched.flips
        return value | {
            "tokens": {
                "matched": self.matched.said,
                "renamed": self.matched.renamed,
                "differ": records(pd.DataFrame([self.matched.differ]))[0],
                "flips": records(rows[rows.by == "all"]),
            }
        }

    def _whole(self) -> pd.DataFrame:
        table = self.found.per_token
        return table if table.empty else table[table.layer_id.isna() & (table.domain == ALL)]


def models_of(sides: Sequence[Side], folders: Sequence[Path]) -> list[TracedModel]:
    """In the order of the traces; none, where none is given. ValueError: there are more or fewer,
    or a folder holds other weights."""
    if folders and len({side.file for side in sides}) < len(sides):
        raise ValueError(
            "--model is for traces of several models, and parts of one trace have one; leave it out"
        )
    if folders and len(folders) != len(sides):
        raise ValueError(
            f"--model must be given once for each of the {len(sides)} traces, in their order "
            f"(found: {len(folders)})"
        )
    models = [
        TracedModel(side.name, side.info, (folder,))
        for side, folder in zip(sides, folders, strict=False)
    ]
    for model in models:
        model.folder()
    return models


def compared(first: Side, second: Side, models: Sequence[TracedModel] = ()) -> Comparison:
    """Experts of another model go by the names of those that do their work, where texts tell.
    models: of both, whose experts are matched by weights, too."""
    matched, why = None, "the parts of a trace have no token in common"
    if first.file != second.file:
        try:
            matched = matched_traces((first.con, first.info), (second.con, second.info))
        except ValueError as error:
            why = str(error)
    renaming, named = naming(first, second, matched, why)
    found = compare(first, second, renaming=renaming)
    weights = match_models(*models) if models else None
    return Comparison(first.name, second.name, found, named, matched, why, weights)


def all_compared(sides: Sequence[Side], models: Sequence[TracedModel]) -> list[Comparison]:
    """Each with the first. models: of all of them, or none."""
    return [
        compared(sides[0], sides[number], [models[0], models[number]] if models else [])
        for number in range(1, len(sides))
    ]


def ended_in_words(loads: pd.DataFrame) -> str:
    """How many experts only one of the two chooses; empty: none."""
    zero, zero_first = loads.second == 0, loads["first"] == 0
    gone, came = int((zero & ~zero_first).sum()), int((zero_first & ~zero).sum())
    said = []
    if gone:
        of = counted(gone, "expert of the first is", "experts of the first are")
        said.append(f"{of} never chosen in the second")
    if came:
        of = counted(came, "expert of the second is", "experts of the second are")
        said.append(f"{of} never chosen in the first")
    return " and ".join(said)


def write(folder: Path, found: Sequence[Comparison]) -> None:
    """Every table as CSV, those of all comparisons together, and a manifest."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for one in found:
        for name, table in one.tables():
            of = table.copy()
            of.insert(0, "compared_with", one.first)
            of.insert(0, "trace", one.second)
            tables.setdefault(name, []).append(of)
    for name, frames in tables.items():
        joined = pd.concat(frames, ignore_index=True)
        (folder / f"{name}.csv").write_text(csv_text(joined), encoding="utf-8", newline="")
    manifest = {"comparisons": [one.as_json() for one in found], "tables": sorted(tables)}
    (folder / "manifest.json").write_text(json_text(manifest, indent=2), encoding="utf-8")


def _share(row: Mapping[Any, Any]) -> str:
    span = f" ({row['low']:.2%} to {row['high']:.2%})" if row["low"] == row["low"] else ""
    return f"{row['estimate']:.2%}{span}"
