"""Experts of a trace left out of its model: on which texts, beside which others, and what came of
it.

N = groups, D = documents, V = variants, L = MoE layers, E = routed experts.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import arrays, cause_tests
from analysis.cause_tests import CLAIM, Tally
from analysis.causes import DOUBLE, Claim, LayerChanges, cause_table, claim_controls, typed
from analysis.domain_names import is_label
from analysis.groups import summed
from analysis.queries import TraceInfo
from app.kept import layer_numbers
from app.sidecars import CAUSES
from app.studies import claims
from app.studies.reader import CHECKPOINT, Tracer
from data.measurements import read_measurements
from data.sidecar import Absent, Sidecar, read_sidecar, write_sidecar

if TYPE_CHECKING:
    from model.ablation import DocumentLoss
    from model.encoded import Encoded

UNTESTED = "not tested"
EXPERIMENTS_FILE = "causes.csv"  # of the model, beside its weights
CONTROLS_FILE = "causes_controls.csv"


def require_usable(folder: Path, info: TraceInfo) -> None:
    from model.fingerprint import model_sha256

    if not info.model_sha256:
        raise ValueError(
            "the trace does not say which weights it was made with, as one that was imported; "
            "capture its texts with the model to leave experts out"
        )
    if layer_numbers(info.config, info.num_layers):
        raise ValueError(
            "the trace holds some layers of the model alone; capture its texts without --layers "
            "to leave experts out"
        )
    if model_sha256(folder) != info.model_sha256:
        raise ValueError(
            f"the trace was made by model {info.model_sha256[:8]}, {folder} holds another; "
            "name its folder with --model"
        )
    require_domains(info)


def require_domains(info: TraceInfo) -> None:
    if sum(map(is_label, info.domains)) < 2:
        raise ValueError(
            "the trace has fewer than two labelled domains, so an expert's own domain "
            "cannot be compared with others"
        )


@dataclass(frozen=True, slots=True)
class Texts:
    """That judge: their groups, domains and choices."""

    doc_id_D: np.ndarray
    unit_D: np.ndarray
    domain_D: np.ndarray
    choices_DLE: np.ndarray

    @classmethod
    def of_trace(cls, con: DuckDBPyConnection, info: TraceInfo, rows: pd.DataFrame) -> "Texts":
        """rows: doc_id, unit, domain; of documents with choices."""
        tokens, doc_ids = arrays.document_array(con, info)
        chosen = tokens[np.searchsorted(doc_ids, rows.doc_id)]
        return cls(rows.doc_id.to_numpy(), rows.unit.to_numpy(), rows.domain.to_numpy(str), chosen)

    def changes(self, layer_id: int, change_ED: np.ndarray, tokens_D: np.ndarray) -> LayerChanges:
        """Summed over groups. change_ED: NaN where an expert was not left out."""
        _, first = np.unique(self.unit_D, return_index=True)
        return LayerChanges(
            change_EN=summed(change_ED.T, self.unit_D).T,
            choices_EN=summed(self.choices_DLE[:, layer_id], self.unit_D).T,
            tokens_N=summed(tokens_D, self.unit_D),
            documents_N=summed(np.ones_like(self.unit_D), self.unit_D),
            domain_N=self.domain_D[first],
        )

    def to_leave_out(
        self, targets: Iterable[Claim], claimed: Sequence[Claim], *, seed: int
    ) -> dict[int, list[int]]:
        """Experts by layer: the targets and the controls of each."""
        out: dict[int, set[int]] = {}
        for claim in targets:
            layer_id, expert_id, _ = claim
            controls = claim_controls(
                self.choices_DLE[:, layer_id].T, self.domain_D, claim, claimed, seed=seed
            )
            out.setdefault(layer_id, set()).update([expert_id, *controls])
        return {layer_id: sorted(experts) for layer_id, experts in sorted(out.items())}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do: every expert is left out once and serves all claims of its layer."""

    targets: list[Claim]
    claimed: list[Claim]
    texts: Texts
    encoded: list["Encoded"]
    experts: dict[int, list[int]]
    seed: int

    @property
    def left_out(self) -> int:
        return sum(map(len, self.experts.values()))

    @property
    def tokens(self) -> int:
        return sum(len(item.token_ids) for item in self.encoded)

    def seconds(self, tracer: Tracer) -> float:
        """What it will take, by reading one batch as the model is."""
        from model.ablation import document_losses
        from model.encoded import batches

        some = [
            self.encoded[place]
            for place in next(batches(self.encoded, tokens=tracer.model.batch_tokens))
        ]
        started = time.perf_counter()
        document_losses(tracer.model, some, {})
        rate = (time.perf_counter() - started) / sum(len(item.token_ids) for item in some)
        return rate * self.tokens * (1 + self.left_out)

    def summary(self, seconds: float) -> str:
        claims = "1 claim" if len(self.targets) == 1 else f"{len(self.targets):,} claims"
        experts = "1 expert" if self.left_out == 1 else f"{self.left_out:,} experts"
        return (
            f"{claims}, {experts} to leave out, {self.tokens:,} tokens: about {duration(seconds)}"
        )


def plan(
    con: DuckDBPyConnection,
    info: TraceInfo,
    halves: claims.Halves,
    targets: list[Claim],
    *,
    tokens_per_domain: int,
    seed: int,
) -> Plan:
    rows = claims.sampled(halves.judges, tokens_per_domain=tokens_per_domain, seed=seed)
    if rows.empty:
        raise ValueError(
            "no text is left to judge: half of the groups of each domain choose the experts, the "
            "others judge; capture two labelled groups of a domain or more"
        )
    texts, claimed = Texts.of_trace(con, info, rows), halves.claims()
    return Plan(
        targets=targets,
        claimed=claimed,
        texts=texts,
        encoded=claims.encoded_of(con, rows),
        experts=texts.to_leave_out(targets, claimed, seed=seed),
        seed=seed,
    )


def ablate(
    tracer: Tracer,
    run: Plan,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> pd.DataFrame:
    """The cause_table of the targets."""
    from model.ablation import document_losses
    from model.intervene import masked

    interventions = {
        variant(layer, expert): partial(masked, tracer.model, {layer: [expert]})
        for layer, experts in run.experts.items()
        for expert in experts
    }
    losses = document_losses(
        tracer.model, run.encoded, interventions, on_progress=on_progress, cancelled=cancelled
    )
    layers = layer_changes(losses, run.texts)
    return cause_table(layers, run.targets, run.claimed, seed=run.seed).assign(seed=run.seed)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def variant(layer_id: int, expert_id: int) -> str:
    return f"{layer_id}:{expert_id}"


def layer_changes(losses: "DocumentLoss", texts: Texts) -> dict[int, LayerChanges]:
    """From losses whose variants are LAYER:EXPERT."""
    num_layers, num_experts = texts.choices_DLE.shape[1:]
    change_LED = np.full((num_layers, num_experts, len(texts.doc_id_D)), np.nan)
    for name, nats_D in zip(losses.variants[1:], losses.nats_VN[1:], strict=True):
        layer_id, expert_id = map(int, name.split(":"))
        change_LED[layer_id, expert_id] = nats_D - losses.nats_VN[0]
    return {
        layer_id: texts.changes(layer_id, change_ED, losses.tokens_N)
        for layer_id, change_ED in enumerate(change_LED)
        if not np.isnan(change_ED).all()
    }


def joined(trace: Path, info: TraceInfo, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a cause_table with those stored beside the trace.

    Of an expert measured twice the measurement on more tokens stays, the later one if equal.
    """
    known = read_sidecar(trace, CAUSES, of=info)
    if isinstance(known, Absent):
        return rows
    rows = pd.concat([typed(known.frame), rows], ignore_index=True)
    names = [*CLAIM, "claimed", "group"]
    rows = rows.sort_values("n_tokens", kind="stable")
    return rows.drop_duplicates(names, keep="last").sort_index(ignore_index=True)


def store(
    trace: Path, info: TraceInfo, rows: pd.DataFrame, parameters: Mapping[str, object]
) -> pd.DataFrame:
    """Stores the joined rows beside the trace and returns them with verdicts."""
    rows = joined(trace, info, rows)
    write_sidecar(trace, CAUSES, rows, {"model_sha256": info.model_sha256, **parameters}, of=info)
    return cause_tests.with_verdicts(rows)


def stored(trace: Path, info: TraceInfo) -> pd.DataFrame | None:
    """What was measured on this trace, with q and verdicts over all claims tried."""
    known = read_sidecar(trace, CAUSES, of=info)
    return cause_tests.with_verdicts(known.frame) if isinstance(known, Sidecar) else None


def experiments(folder: Path) -> pd.DataFrame | None:
    """What masking, replacing and leaving out experts did to the model of the folder, with q."""
    path = folder / EXPERIMENTS_FILE
    if not path.is_file():
        return None
    rows = read_measurements(
        path,
        names=("experiment", "domain", "model_sha256"),
        numbers=("value", "estimate", "n_groups", "n_documents", "n_tokens"),
        optional=("low", "high", "p"),
    )
    if not rows.p.dropna().between(0, 1).all():
        raise ValueError(f"{path} has a p outside 0 to 1; delete it, or restore it with its model")
    return cause_tests.with_q(rows, family="experiment")


def shipped_controls(folder: Path = CHECKPOINT) -> dict[str, Tally]:
    """How many claims the rule confirms where there is nothing to confirm: by what was done,
    measured with the shipped model."""
    path = folder / CONTROLS_FILE
    if not path.is_file():
        return {}
    rows = read_measurements(path, names=("control",), numbers=("tested", "confirmed"))
    table = rows.groupby("control", sort=False)[["tested", "confirmed"]].sum()
    counts = zip(table.tested.tolist(), table.confirmed.tolist(), strict=True)
    return {str(name): Tally(*pair) for name, pair in zip(table.index, counts, strict=True)}


def with_verdicts(specialists: pd.DataFrame, causes: pd.DataFrame | None) -> pd.DataFrame:
    """Specialists with the verdict of leaving them out; UNTESTED where that was not measured."""
    if causes is None:
        return specialists.assign(verdict=UNTESTED)
    last = causes[causes.claimed & (causes.group == DOUBLE)][[*CLAIM, "verdict"]]
    return specialists.merge(last, on=CLAIM, how="left").fillna({"verdict": UNTESTED})
