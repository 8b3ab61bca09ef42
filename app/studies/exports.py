"""What other tools read of a trace: each export by name. L = MoE layers, E = routed experts."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import esft, queries
from analysis.definitions import normalized_over_experts
from analysis.queries import TraceInfo
from app.kept import require_whole_model
from data.exports import eplb, expert_location, expert_map, keep_list, olmoe, tables
from data.exports import esft as esft_files
from data.exports.new_file import new_file
from data.outputs import new_folder, require_new_file, require_new_folder
from data.routing import LayerDescription

WITHOUT_WEIGHTS = "the weights of the trace are unknown, or not all of them are numbers"
TOP_P = 0.2  # as in ESFT's own configurations


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What some exports ask for. ValueError, when it is asked for and None."""

    devices: int | None = None  # over which experts are spread
    keep: int | None = None  # experts of each layer
    by: str = "load"  # what is kept: "load" or "weight"
    score: str = "token"  # what is trained: "token" or "gate"
    top_p: float = TOP_P


class Subject:
    """A trace to export, and what exports need of it, computed once."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        settings: Settings,
        expert_tokens: pd.DataFrame | None = None,
    ) -> None:
        """`expert_tokens`: of queries, where they were asked for before."""
        self.con = con
        self.settings = settings
        self.info: TraceInfo = queries.trace_info(con)
        self._of_expert = queries.expert_tokens(con) if expert_tokens is None else expert_tokens

    @property
    def layers(self) -> tuple[LayerDescription, ...]:
        """Of the model. ValueError: the trace lacks some, of which a file would have to tell."""
        require_whole_model(self.info.config, self.info.num_layers, what="this export")
        return self.info.layers

    @cached_property
    def loads(self) -> np.ndarray:
        """Choices of each expert [L, E]. ValueError: the trace is empty."""
        tokens_LE = self._of_experts("tokens").astype(np.int64)
        if not tokens_LE.any():
            raise ValueError("the trace holds no choices; capture or import some")
        return tokens_LE

    @cached_property
    def weights(self) -> np.ndarray | None:
        """Sums of each expert [L, E]; None: unknown, or not finite."""
        weights_LE = self._of_experts("weight_sum")
        return weights_LE if np.isfinite(weights_LE).all() else None

    def _of_experts(self, column: str) -> np.ndarray:
        amount_LE = np.zeros((self.info.num_layers, self.info.num_experts))
        amount_LE[self._of_expert.layer_id, self._of_expert.expert_id] = self._of_expert[column]
        return amount_LE

    def require_weights(self, remedy: str) -> np.ndarray:
        if self.weights is None:
            raise ValueError(f"{WITHOUT_WEIGHTS}; {remedy}")
        return self.weights

    def require_every_layer(self) -> None:
        idle_L = self.loads.sum(-1) == 0
        if idle_L.any():
            name = self.layers[int(np.argmax(idle_L))].name
            raise ValueError(f"{name} has no choices, so none of its experts is above another")

    def routed_tokens(self) -> np.ndarray:
        """Of each layer [L]; those that chose an expert in it."""
        rows = queries.document_k(self.con).groupby("layer_id").routed.sum()
        return rows.reindex(range(self.info.num_layers), fill_value=0).to_numpy()


Notes = list[str]  # what a reader of the file should know
Made = tuple[object, Notes]  # of an export that is one JSON value


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A form of what a trace holds, that another tool reads."""

    name: str  # as --as takes it
    title: str
    suffixes: tuple[str, ...]  # that its file may have; none: it is a folder
    write: Callable[[Subject, Path], Notes]  # ValueError: what the trace lacks for it

    def require_new(self, out: Path) -> None:
        """ValueError: it is there, cannot be made, or has a name that its readers do not take."""
        if self.suffixes and out.suffix not in self.suffixes:
            raise ValueError(
                f"{out} does not end in {' or '.join(self.suffixes)}, as an export as {self.name} "
                "does; name it so"
            )
        (require_new_file if self.suffixes else require_new_folder)(out)


def _json(make: Callable[[Subject], Made]) -> Callable[[Subject, Path], Notes]:
    def write(subject: Subject, out: Path) -> Notes:
        value, notes = make(subject)
        _write(out, json.dumps(value, allow_nan=False).encode())
        return notes

    return write


def _write(out: Path, content: bytes) -> None:
    with new_file(out) as file:
        file.write(content)


def _expert_location(subject: Subject) -> Made:
    return expert_location.expert_location(subject.layers), []


def _expert_counts(subject: Subject) -> Made:
    return expert_location.expert_counts(subject.layers, subject.loads), []


def _expert_map(subject: Subject) -> Made:
    if subject.settings.devices is None:
        raise ValueError("an expert map is of so many devices; give --devices")
    return expert_map.expert_map(subject.layers, subject.settings.devices), []


def _keep_list(subject: Subject) -> Made:
    keep, by = subject.settings.keep, subject.settings.by
    if keep is None:
        raise ValueError("a keep-list has so many experts of each layer; give --keep")
    subject.require_every_layer()
    amount_LE = subject.loads
    if by == "weight":
        amount_LE = subject.require_weights("give --by load")
    what = {"load": "most tokens", "weight": "largest sums of weights"}[by]
    kept = keep_list.keep_list(subject.layers, amount_LE, keep)
    return kept, [f"kept are the {keep} experts of each layer with the {what}"]


def _expert_config(subject: Subject) -> Made:
    score, top_p = subject.settings.score, subject.settings.top_p
    score_LE = esft.token_score(subject.loads)
    if score == "gate":
        score_LE = normalized_over_experts(subject.require_weights("give --score token"))
    selected = esft.selection(score_LE, subject.layers, top_p=top_p)
    notes = [f"selected by {score} score, pooled over tokens, until {top_p:g} of each layer's"]
    return esft_files.expert_config(subject.layers, selected), notes


def _esft_scores(subject: Subject) -> Made:
    subject.require_every_layer()
    score_LE = esft.token_score(subject.loads)
    scores = {"token_scores": esft_files.score_table(subject.layers, score_LE)}
    if subject.weights is None:
        return scores, [f"without gate_scores: {WITHOUT_WEIGHTS}"]
    tokens_L = subject.routed_tokens()
    if not tokens_L.all():
        return scores, ["without gate_scores: the number of tokens is not known"]
    gate_LE = esft.gate_score(subject.weights, tokens_L)
    return scores | {"gate_scores": esft_files.score_table(subject.layers, gate_LE)}, []


def _eplb(subject: Subject, out: Path) -> Notes:
    weight_LE = eplb.weight(subject.layers, subject.loads)
    if out.suffix == ".npy":
        _write(out, eplb.npy(weight_LE))
    else:
        _write(out, json.dumps(weight_LE.tolist()).encode())
    return []


def _olmoe(subject: Subject, out: Path) -> Notes:
    with new_file(out) as file:
        return olmoe.write_jsonl(subject.con, subject.info.num_layers, file)


def _tables(subject: Subject, out: Path, *, parquet: bool) -> Notes:
    with new_folder(out) as folder:
        rows = tables.write_tables(subject.con, folder, parquet=parquet)
    return [f"{sum(rows.values()):,} rows in {len(rows)} tables, and {tables.MANIFEST}"]


EXPORTS = (
    Export(
        name="sglang",
        title="SGLang: experts in order, for --init-expert-location",
        suffixes=(".json",),
        write=_json(_expert_location),
    ),
    Export(
        name="sglang-counts",
        title="SGLang: loads, by which --init-expert-location balances",
        suffixes=(".json",),
        write=_json(_expert_counts),
    ),
    Export(
        name="vllm-ascend",
        title="vllm-ascend: expert map, experts in order over --devices",
        suffixes=(".json",),
        write=_json(_expert_map),
    ),
    Export(
        name="llmcompressor",
        title="llmcompressor: keep-list, the busiest --keep experts of each layer",
        suffixes=(".json",),
        write=_json(_keep_list),
    ),
    Export(
        name="esft",
        title="ESFT: expert config, experts selected until --top-p of a layer's --score",
        suffixes=(".json",),
        write=_json(_expert_config),
    ),
    Export(
        name="esft-scores",
        title="ESFT: token and gate scores of every expert",
        suffixes=(".json",),
        write=_json(_esft_scores),
    ),
    Export(
        name="eplb",
        title="EPLB: loads of every expert, JSON or .npy",
        suffixes=(".json", ".npy"),
        write=_eplb,
    ),
    Export(
        name="olmoe",
        title="OLMoE: JSON lines of token ids and their experts",
        suffixes=(".jsonl",),
        write=_olmoe,
    ),
    Export(
        name="parquet",
        title="Every table as Parquet, which `routescope import` reads back",
        suffixes=(),
        write=partial(_tables, parquet=True),
    ),
    Export(
        name="jsonl",
        title="Every table as JSON lines",
        suffixes=(),
        write=partial(_tables, parquet=False),
    ),
)


def named(name: str) -> Export:
    """ValueError: there is none of that name."""
    for export in EXPORTS:
        if export.name == name:
            return export
    names = ", ".join(export.name for export in EXPORTS)
    raise ValueError(f"there is no export {name!r:.80}; give one of {names}")


def content(export: Export, subject: Subject) -> tuple[bytes, Notes]:
    """For a button: what the file of an export would hold. Not of folders."""
    assert export.suffixes
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"export{export.suffixes[0]}"
        notes = export.write(subject, out)
        return out.read_bytes(), notes
