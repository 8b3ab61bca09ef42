"""Experts of a trace left out of its model: on which texts, beside which others, and what came of
it.

N = groups, D = documents, V = variants, L = MoE layers, E = routed experts.
"""

import shutil
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
from analysis.causes import DOUBLE, Claim, LayerChanges, cause_table, claim_controls
from analysis.domain_names import is_label
from analysis.groups import summed
from analysis.queries import TraceInfo
from app.studies import claims
from app.studies.reader import CHECKPOINT, Tracer
from data.sidecar import read_sidecar, sidecar_path, write_sidecar

if TYPE_CHECKING:
    from model.ablation import DocumentLoss
    from model.encoded import Encoded

WHAT = "causes"
FORMAT = 2  # of the columns; what has another is measured again
UNTESTED = "not tested"
CONTROLS_FILE = "causes_controls.csv"


def require_usable(folder: Path, info: TraceInfo) -> None:
    from model.fingerprint import model_sha256

    if model_sha256(folder) != info.model_sha256:
        raise ValueError(
            f"the trace was made by model {info.model_sha256[:8]}, {folder} holds another; "
            "name its folder with --model"
        )
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
        from model.encoded import BATCH_TOKENS, batches

        of_batch = BATCH_TOKENS[tracer.model.device.type]
        some = [self.encoded[place] for place in next(batches(self.encoded, tokens=of_batch))]
        started = time.perf_counter()
        document_losses(tracer.model, some, {})
        rate = (time.perf_counter() - started) / sum(len(item.token_ids) for item in some)
        return rate * self.tokens * (1 + self.left_out)

    def summary(self, seconds: float) -> str:
        return (
            f"{len(self.targets):,} claims, {self.left_out:,} experts to leave out, "
            f"{self.tokens:,} tokens: about {duration(seconds)}"
        )


def plan(
    tracer: Tracer,
    con: DuckDBPyConnection,
    info: TraceInfo,
    halves: claims.Halves,
    targets: list[Claim],
    *,
    tokens_per_domain: int,
    seed: int,
) -> Plan:
    from model.encoded import encoded_documents

    rows = claims.sampled(halves.judges, tokens_per_domain=tokens_per_domain, seed=seed)
    texts, claimed = Texts.of_trace(con, info, rows), halves.claims()
    return Plan(
        targets=targets,
        claimed=claimed,
        texts=texts,
        encoded=list(encoded_documents(tracer.model, claims.documents_of(con, rows))),
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


def store(trace: Path, rows: pd.DataFrame, parameters: Mapping[str, object]) -> pd.DataFrame:
    """Adds rows of a cause_table to those stored beside the trace and returns all, with verdicts.

    Of an expert measured twice the measurement on more tokens stays, the later one if equal.
    What another model left is dropped: the trace is not of that model any more.
    """
    known = _read(trace, str(parameters["model_sha256"]))
    if known is not None:
        rows = pd.concat([known, rows], ignore_index=True)
        names = [*CLAIM, "claimed", "group"]
        rows = rows.sort_values("n_tokens", kind="stable")
        rows = rows.drop_duplicates(names, keep="last").sort_index(ignore_index=True)
    write_sidecar(trace, WHAT, rows, dict(parameters) | {"format": FORMAT})
    return cause_tests.with_verdicts(rows)


def adopt(folder: Path, trace: Path) -> None:
    """Take over what was measured on the demo of a shipped model; stored() checks that it is of
    the same model."""
    shipped = sidecar_path(folder / trace.name, WHAT)
    if shipped.is_file():
        shutil.copyfile(shipped, sidecar_path(trace, WHAT))


def stored(trace: Path, *, model_sha256: str) -> pd.DataFrame | None:
    """What was measured on this model, with q and verdicts over all claims tried; None if nothing
    was, or by an earlier version with other columns."""
    known = _read(trace, model_sha256)
    return None if known is None else cause_tests.with_verdicts(known)


def _read(trace: Path, model_sha256: str) -> pd.DataFrame | None:
    known = read_sidecar(trace, WHAT)
    if known is None:
        return None
    frame, parameters = known
    same = parameters.get("model_sha256") == model_sha256 and parameters.get("format") == FORMAT
    return frame if same else None


def shipped_controls(folder: Path = CHECKPOINT) -> dict[str, Tally]:
    """How many claims the rule confirms where there is nothing to confirm: by what was done,
    measured with the shipped model."""
    path = folder / CONTROLS_FILE
    if not path.is_file():
        return {}
    table = pd.read_csv(path).groupby("control", sort=False)[["tested", "confirmed"]].sum()
    counts = zip(table.tested.tolist(), table.confirmed.tolist(), strict=True)
    return {str(name): Tally(*pair) for name, pair in zip(table.index, counts, strict=True)}


def with_verdicts(specialists: pd.DataFrame, causes: pd.DataFrame | None) -> pd.DataFrame:
    """Specialists with the verdict of leaving them out; UNTESTED where that was not measured."""
    if causes is None:
        return specialists.assign(verdict=UNTESTED)
    last = causes[causes.claimed & (causes.group == DOUBLE)][[*CLAIM, "verdict"]]
    return specialists.merge(last, on=CLAIM, how="left").fillna({"verdict": UNTESTED})
