"""Experts of a trace left out of its model: which, on which documents, and what came of it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import queries, significance
from analysis.causes import cause_row, matched_controls
from analysis.queries import TraceInfo
from app.tracing import Tracer
from data.pieces import encoder
from data.routing import UNLABELLED, Document
from data.sidecar import read_sidecar, write_sidecar

WHAT = "causes"
Expert = tuple[int, int]  # layer, expert


def claimed(con: DuckDBPyConnection, info: TraceInfo) -> pd.DataFrame:
    """Specialists by lift, surest first: layer_id, expert_id, domain and their interval."""
    tokens_NLE, domain_id_N = queries.document_array(con, info)
    table = significance.lift_table(tokens_NLE, domain_id_N, domains=info.domains)
    return significance.specialists(table)


def parse_experts(text: str, info: TraceInfo) -> list[Expert]:
    """`3:17,5:2` as layer and expert."""
    found = []
    for part in text.split(","):
        layer, _, expert = part.strip().partition(":")
        if not (layer.isdigit() and expert.isdigit()):
            raise ValueError(f"{part!r} is not LAYER:EXPERT; write for example 3:17,5:2")
        if int(layer) >= info.num_layers or int(expert) >= info.num_experts:
            raise ValueError(
                f"there is no expert {part.strip()}: layers are 0 to {info.num_layers - 1}, "
                f"experts 0 to {info.num_experts - 1}"
            )
        found.append((int(layer), int(expert)))
    return list(dict.fromkeys(found))


def require_usable(tracer: Tracer, info: TraceInfo) -> None:
    from model.checkpoint import model_sha256

    if model_sha256(tracer.folder) != info.model_sha256:
        raise ValueError(
            f"the trace was made by model {info.model_sha256[:8]}, {tracer.folder} holds another; "
            "name its folder with --model"
        )
    if len([name for name in info.domains if name != UNLABELLED]) < 2:
        raise ValueError("the trace has fewer than two labelled domains: no own and other domains")


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
            doc_id=int(row.doc_id),
            text=queries.document_text(con, int(row.doc_id)),
            domain=row.domain,
            origin=row.origin,
        )
        for row in chosen.sort_values("doc_id").itertuples()
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
    """A row an expert of `targets` (layer_id, expert_id, domain)."""
    from model.ablation import document_losses
    from model.encoded import encoded_documents
    from model.intervene import masked

    sampled = sample_documents(con, tokens_per_domain=tokens_per_domain, seed=seed)
    room = tracer.model.config.context_length - 1
    encoded = list(encoded_documents(encoder(tracer.tokenizer), sampled, room=room))
    load_LE = queries.load_array(queries.expert_tokens(con, domain=None), info)
    claims = claimed(con, info)
    controls: list[list[int]] = []
    for row in targets.itertuples():
        same = (claims.layer_id == row.layer_id) & (claims.domain == row.domain)
        excluded = set(claims.expert_id[same])
        load_E = load_LE[row.layer_id]
        controls.append(matched_controls(load_E, row.expert_id, excluded=excluded, seed=seed))
    wanted = {
        (row.layer_id, expert)
        for row, others in zip(targets.itertuples(), controls, strict=True)
        for expert in [row.expert_id, *others]
    }
    interventions = {
        f"{layer}:{expert}": partial(masked, tracer.model, {layer: [expert]})
        for layer, expert in sorted(wanted)
    }
    losses = document_losses(
        tracer.model, encoded, interventions, on_progress=on_progress, cancelled=cancelled
    )
    change_VN = losses.nats_VN - losses.nats_VN[0]
    domain_N = np.array([item.document.domain for item in encoded])
    rows: list[dict[str, Any]] = []
    for row, others in zip(targets.itertuples(), controls, strict=True):
        place = [losses.variants.index(f"{row.layer_id}:{e}") for e in [row.expert_id, *others]]
        own_N = domain_N == row.domain
        found = cause_row(change_VN[place[0]], change_VN[place[1:]], losses.tokens_N, own_N)
        names = {"layer_id": row.layer_id, "expert_id": row.expert_id, "domain": row.domain}
        rows.append(names | found | {"controls": " ".join(map(str, others)), "seed": seed})
    return pd.DataFrame(rows)


def store(trace: Path, rows: pd.DataFrame, parameters: dict[str, Any]) -> pd.DataFrame:
    """Adds rows to those stored beside the trace; an expert ablated again is replaced."""
    known = read_sidecar(trace, WHAT)
    if known is not None and known[1].get("model_sha256") == parameters["model_sha256"]:
        rows = pd.concat([known[0], rows], ignore_index=True)
        rows = rows.drop_duplicates(["layer_id", "expert_id", "domain"], keep="last")
    write_sidecar(trace, WHAT, rows, parameters)
    return rows


def targets_of(claims: pd.DataFrame, experts: list[Expert] | None, *, top: int) -> pd.DataFrame:
    """Experts named, each with the domain it is surest in; else the `top` surest a domain."""
    if experts is None:
        return claims.groupby("domain", sort=False).head(top).reset_index(drop=True)
    pairs = list(zip(claims.layer_id, claims.expert_id, strict=True))
    for layer, expert in experts:
        if (layer, expert) not in pairs:
            raise ValueError(
                f"expert {layer}:{expert} is no claimed specialist of this trace: it has no own "
                "domain to compare with; see the page Specialization"
            )
    return claims.iloc[[pairs.index(expert) for expert in experts]].reset_index(drop=True)
