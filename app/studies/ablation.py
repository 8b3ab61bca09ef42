"""Experts of a trace left out of its model: which, on which documents, and what came of it."""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import queries, significance
from analysis.cause_tests import with_tests
from analysis.causes import cause_table, matched_controls
from analysis.queries import TraceInfo
from app.studies.reader import Tracer
from data.routing import UNLABELLED, Document
from data.sidecar import read_sidecar, sidecar_path, write_sidecar

if TYPE_CHECKING:
    from model.ablation import DocumentLoss

WHAT = "causes"
UNTESTED = "not tested"
Expert = tuple[int, int]  # layer, expert


def lifts(con: DuckDBPyConnection, info: TraceInfo) -> pd.DataFrame:
    """The lift_table of the trace."""
    tokens_NLE, domain_id_N = queries.group_array(con, info)
    return significance.lift_table(tokens_NLE, domain_id_N, domains=info.domains)


def parse_experts(text: str, info: TraceInfo) -> list[Expert]:
    """`3:17,5:2` as layer and expert."""
    experts = []
    for part in text.split(","):
        layer, _, expert = part.strip().partition(":")
        if not (layer.isdigit() and expert.isdigit()):
            raise ValueError(f"{part!r} is not LAYER:EXPERT; write for example 3:17,5:2")
        if int(layer) >= info.num_layers or int(expert) >= info.num_experts:
            raise ValueError(
                f"there is no expert {part.strip()}: layers are 0 to {info.num_layers - 1}, "
                f"experts 0 to {info.num_experts - 1}"
            )
        experts.append((int(layer), int(expert)))
    return list(dict.fromkeys(experts))


def require_usable(folder: Path, info: TraceInfo) -> None:
    from model.fingerprint import model_sha256

    if model_sha256(folder) != info.model_sha256:
        raise ValueError(
            f"the trace was made by model {info.model_sha256[:8]}, {folder} holds another; "
            "name its folder with --model"
        )
    if len([name for name in info.domains if name != UNLABELLED]) < 2:
        raise ValueError(
            "the trace has fewer than two labelled domains, so an expert's own domain "
            "cannot be compared with others"
        )


def sample_documents(
    con: DuckDBPyConnection, *, tokens_per_domain: int, seed: int
) -> list[Document]:
    """Labelled documents in seeded random order until each domain has so many tokens."""
    frame = queries.documents(con)
    frame = frame[frame.domain != UNLABELLED].sample(frac=1, random_state=seed)
    before = frame.groupby("domain").tokens.cumsum() - frame.tokens
    chosen = frame[(before < tokens_per_domain) & (frame.tokens > 0)]
    return [
        Document(
            doc_id=row["doc_id"],
            text=queries.document_text(con, row["doc_id"]),
            domain=row["domain"],
            origin=row["origin"],
        )
        for row in chosen.sort_values("doc_id").to_dict("records")
    ]


def ablate(
    tracer: Tracer,
    con: DuckDBPyConnection,
    info: TraceInfo,
    targets: pd.DataFrame,
    *,
    tokens_per_domain: int,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> pd.DataFrame:
    """The rows of cause_table for every expert of `targets` (layer_id, expert_id, domain)."""
    from model.ablation import document_losses
    from model.encoded import encoded_documents
    from model.intervene import masked

    sampled = sample_documents(con, tokens_per_domain=tokens_per_domain, seed=seed)
    encoded = list(encoded_documents(tracer.model, sampled))
    groups = groups_of(con, info, targets)
    interventions = {
        f"{group.layer_id}:{expert}": partial(masked, tracer.model, {group.layer_id: [expert]})
        for group in groups
        for expert in group.experts
    }
    losses = document_losses(
        tracer.model, encoded, interventions, on_progress=on_progress, cancelled=cancelled
    )
    domain_N = np.array([item.document.domain for item in encoded])
    return cause_tables(groups, losses, domain_N, seed=seed)


class Group(NamedTuple):
    """A specialist, first, and its controls."""

    layer_id: int
    domain: str
    experts: list[int]


def groups_of(con: DuckDBPyConnection, info: TraceInfo, targets: pd.DataFrame) -> list[Group]:
    """Of every row of `targets` (layer_id, expert_id, domain)."""
    load_LE = queries.load_array(queries.expert_tokens(con, domain=None), info)
    rows = zip(targets.layer_id, targets.expert_id, targets.domain, strict=True)
    return [
        Group(layer, domain, [expert, *matched_controls(load_LE[layer], expert)])
        for layer, expert, domain in rows
    ]


def cause_tables(
    groups: list[Group], losses: "DocumentLoss", domain_N: np.ndarray, *, seed: int
) -> pd.DataFrame:
    """The rows of cause_table for every group, from losses whose variants are LAYER:EXPERT."""
    tables = [_causes(group, losses, domain_N, seed=seed) for group in groups]
    return pd.concat(tables, ignore_index=True)


def _causes(
    group: Group, losses: "DocumentLoss", domain_N: np.ndarray, *, seed: int
) -> pd.DataFrame:
    change_VN = losses.nats_VN - losses.nats_VN[0]
    own, *controls = [losses.variants.index(f"{group.layer_id}:{e}") for e in group.experts]
    table = cause_table(
        change_VN[own],
        change_VN[controls],
        losses.tokens_N,
        domain_N == group.domain,
        seed=seed,
    )
    table.insert(0, "layer_id", group.layer_id)
    table.insert(1, "expert_id", group.experts[0])
    table.insert(2, "domain", group.domain)
    return table.assign(controls=" ".join(map(str, group.experts[1:])), seed=seed)


def store(trace: Path, rows: pd.DataFrame, parameters: Mapping[str, object]) -> pd.DataFrame:
    """Adds rows to those stored beside the trace and returns all.

    Of an expert measured twice the measurement on more tokens stays, the later one if equal.
    What another model left is dropped: the trace is not of that model any more.
    """
    known = stored(trace, model_sha256=str(parameters["model_sha256"]))
    if known is not None:
        rows = pd.concat([known.drop(columns=["p", "q"]), rows], ignore_index=True)
        names = ["layer_id", "expert_id", "domain", "group"]
        rows = rows.sort_values("n_tokens", kind="stable")
        rows = rows.drop_duplicates(names, keep="last").sort_index(ignore_index=True)
    write_sidecar(trace, WHAT, rows, dict(parameters))
    return rows


def adopt(folder: Path, trace: Path) -> None:
    """Take over what was measured on the demo of a shipped model; stored() checks that it is of
    the same model."""
    shipped = sidecar_path(folder / trace.name, WHAT)
    if shipped.is_file():
        shutil.copyfile(shipped, sidecar_path(trace, WHAT))


def stored(trace: Path, *, model_sha256: str) -> pd.DataFrame | None:
    """What was measured on this model, with p and q over all experts tried; None if nothing was."""
    known = read_sidecar(trace, WHAT)
    if not known or known[1].get("model_sha256") != model_sha256:
        return None
    return with_tests(known[0], family="group")


def targets_of(lifts: pd.DataFrame, experts: list[Expert] | None, *, top: int) -> pd.DataFrame:
    """The `top` clearest specialists of every domain, or the experts named, each with the domain in
    which it is clearest, or of highest lift if it is no specialist. Rows of the lift_table."""
    claims = significance.specialists(lifts)
    if experts is None:
        if claims.empty:
            raise ValueError(
                "the trace has no specialist; name the experts to leave out as LAYER:EXPERT"
            )
        return claims.groupby("domain", sort=False).head(top).reset_index(drop=True)
    highest = lifts.dropna(subset="estimate").sort_values("estimate", ascending=False)
    highest = highest[highest.n_tokens > 0]
    known = pd.concat([claims, highest], ignore_index=True)
    known = known.drop_duplicates(["layer_id", "expert_id"]).set_index(["layer_id", "expert_id"])
    for layer, expert in experts:
        if (layer, expert) not in known.index:
            raise ValueError(
                f"expert {layer}:{expert} is never chosen in this trace, so there is nothing to "
                "leave out"
            )
    return known.loc[experts].reset_index()


def with_verdicts(specialists: pd.DataFrame, causes: pd.DataFrame | None) -> pd.DataFrame:
    """Specialists with the verdict of leaving them out; UNTESTED where that was not measured."""
    if causes is None:
        return specialists.assign(verdict=UNTESTED)
    names = ["layer_id", "expert_id", "domain"]
    own = causes[causes.group == "own"][[*names, "verdict"]]
    return specialists.merge(own, on=names, how="left").fillna({"verdict": UNTESTED})
