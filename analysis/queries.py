"""One typed function per question; each runs the file of its name in analysis/sql.

A connection comes first: give every thread its own cursor. A domain is a name of `domain_names`: a
label, "unlabelled", or the other labels where there are many. Arrays and choices come by group:
texts of one source are one piece of evidence. L = MoE layers, E = routed experts, G = domains,
N = groups.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import asked
from analysis.domain_names import domain_names, order
from data.routing import PHASES, Finding, LayerDescription
from data.trace_format import stored_layers

LOAD_ROWS = 1_000_000
NON_FINITE = "non-finite"  # the finding without which weights are all numbers, or all unknown
MAX_DOCUMENTS = 5_000  # whose single choices are read, where sums are not enough


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceInfo:
    """What a trace is: its model, how it was captured and how much it holds."""

    trace_id: str  # of this very trace: what lies beside it names it
    name: str
    source: str
    model_name: str
    model_sha256: str
    tokenizer: str
    num_layers: int  # MoE layers
    num_experts: int  # routed experts, the most of any layer
    num_shared_experts: int  # the most of any layer
    scoring: str
    top_k: int | None  # None where it varies from token to token or by layer
    counts_only: bool  # its source counts choices and names no token
    layers: tuple[LayerDescription, ...]
    created_at: datetime  # UTC
    seed: int | None
    config: dict[str, object]
    format_version: int
    num_documents: int
    last_doc_id: int
    num_tokens: int
    domains: tuple[str, ...]  # in the order shown

    @property
    def layer_sizes(self) -> np.ndarray:
        """Routed experts of each layer."""
        return np.array([layer.num_experts for layer in self.layers])


def trace_info(con: DuckDBPyConnection) -> TraceInfo:
    row = asked.rows(con, "trace_info")[0]
    return TraceInfo(
        **row | {"config": json.loads(row["config"])},
        layers=stored_layers(con),
        domains=domains(con),
    )


def domains(con: DuckDBPyConnection) -> tuple[str, ...]:
    """In the order shown; of more than MAX_LABELS the rest is one."""
    labels = [row["label"] for row in asked.rows(con, "domains")]
    named = domain_names(labels)
    known = dict(zip(named.labels, named.names, strict=True))
    return tuple(sorted({known.get(label, named.others) for label in labels}, key=order))


def texts_sha256(con: DuckDBPyConnection) -> str:
    """The same for traces of the same texts, domains and groups."""
    return asked.rows(con, "texts_sha256")[0]["texts_sha256"]


def findings(con: DuckDBPyConnection) -> list[Finding]:
    """What was noticed while the trace was written; formats 3 and 4 do not say."""
    return [Finding(**row) for row in asked.rows(con, "findings")]


def documents(con: DuckDBPyConnection) -> pd.DataFrame:
    """doc_id, domain, group (None: its own), unit (the first doc_id of its group), origin, tokens,
    text (its first 200 characters)."""
    return asked.frame(con, "documents", **domain_parameters(con))


def document_text(con: DuckDBPyConnection, doc_id: int) -> str:
    rows = asked.rows(con, "document_text", doc_id=doc_id)
    if not rows:
        raise ValueError(f"no document {doc_id} in this trace; documents() lists them")
    return rows[0]["text"]


def document_tokens(con: DuckDBPyConnection, doc_id: int) -> pd.DataFrame:
    """token_id, text; as the model was given them."""
    return asked.frame(con, "document_tokens", doc_id=doc_id)


def domain_tokens(con: DuckDBPyConnection) -> pd.DataFrame:
    """domain, documents, tokens, mean_loss; in the order shown."""
    frame = asked.frame(con, "domain_tokens", **domain_parameters(con))
    return frame.set_index("domain").loc[sorted(frame.domain, key=order)].reset_index()


def expert_tokens(
    con: DuckDBPyConnection, *, phase: str | None = None, domain: str | None = None
) -> pd.DataFrame:
    """layer_id, expert_id, tokens, weight_sum; every expert, dead ones with 0."""
    if phase is not None and phase not in PHASES:
        raise ValueError(f"phase is {phase!r}; use one of {PHASES}, or None for both")
    number = None if phase is None else PHASES.index(phase)
    return asked.frame(con, "expert_tokens", phase=number, domain=domain, **domain_parameters(con))


def weights_unknown(con: DuckDBPyConnection) -> bool:
    """Some expert's weights are no numbers."""
    if any(finding.kind == NON_FINITE for finding in findings(con)):
        return bool(expert_tokens(con).weight_sum.isna().any())
    return bool(asked.rows(con, "weights_unknown")[0]["weights_unknown"])


def expert_dropped(con: DuckDBPyConnection, *, domain: str | None = None) -> pd.DataFrame:
    """layer_id, expert_id, dropped (choices refused); every expert."""
    return asked.frame(con, "expert_dropped", domain=domain, **domain_parameters(con))


def expert_domain_tokens(con: DuckDBPyConnection) -> pd.DataFrame:
    """layer_id, expert_id, domain, tokens; every combination."""
    names = domain_places(con)
    return asked.frame(con, "expert_domain_tokens", names=names["names"], others=names["others"])


def domain_places(con: DuckDBPyConnection) -> dict[str, object]:
    """Make the table domain_place, by which questions count: of numbers whose range it knows DuckDB
    keeps an array. The names of the places."""
    names, places = domain_parameters(con), (asked.SQL / "domain_places.sql").read_text()
    values = {"labels": names["labels"]}
    con.execute(f"CREATE OR REPLACE TEMP TABLE domain_place AS {places}", values)
    return names


def document_routing(con: DuckDBPyConnection, doc_id: int) -> pd.DataFrame:
    """position, token_id, text, special (None: an ordinary token), phase, loss, layer_id, rank,
    expert_id, weight, entropy, margin, dropped; a dropped choice has no rank and weight 0, and so
    has the expert NO_EXPERT of a token that chose none in a layer."""
    return asked.frame(con, "document_routing", doc_id=doc_id)


def coactivation(con: DuckDBPyConnection, layer_id: int) -> pd.DataFrame:
    """expert_a < expert_b, tokens; every pair."""
    return asked.frame(con, "coactivation", layer_id=layer_id)


def all_pairs(con: DuckDBPyConnection) -> dict[str, np.ndarray]:
    """layer_id, expert_a < expert_b, tokens; of all layers, only pairs that occur."""
    return asked.arrays(con, "all_pairs")


def transitions(con: DuckDBPyConnection, layer_id: int) -> pd.DataFrame:
    """expert_id, next_expert_id (in layer_id + 1), tokens; every pair, none for the last layer."""
    return asked.frame(con, "transitions", layer_id=layer_id)


def gate_summary(con: DuckDBPyConnection) -> pd.DataFrame:
    """layer_id, mean_entropy (nats), mean_margin; no row where the source gives ids only."""
    return asked.frame(con, "gate_summary")


def document_gate(con: DuckDBPyConnection) -> pd.DataFrame:
    """doc_id, layer_id, entropy (nats, summed over its tokens), decisions (of known entropy),
    margin, margins (the same)."""
    return asked.frame(con, "document_gate")


def document_loss(con: DuckDBPyConnection) -> pd.DataFrame:
    """doc_id, loss (nats, summed over its tokens), losses (tokens whose loss is known)."""
    return asked.frame(con, "document_loss")


def document_keys(con: DuckDBPyConnection) -> pd.DataFrame:
    """doc_id, tokens, whole, prompt: what the same text, and the same prompt whatever was generated
    after it, has in any trace; None where nothing tells."""
    return asked.frame(con, "document_keys")


def tokens_by_domain(con: DuckDBPyConnection, *, doc_ids: list[int] | None = None) -> pd.DataFrame:
    """doc_id, position, domain, text of every token, or of those documents; in their order."""
    return asked.frame(con, "tokens_by_domain", doc_ids=doc_ids, **domain_parameters(con))


def token_choices(con: DuckDBPyConnection, sample: pd.DataFrame) -> dict[str, np.ndarray]:
    """point (row of the sample, counted from 0), layer_id, expert_id, rank, weight; always in the
    same order, so that sums of floats are the same too."""
    keys = {"doc_ids": sample.doc_id.tolist(), "positions": sample.position.tolist()}
    return asked.arrays(con, "token_choices", **keys)


def routed_documents(con: DuckDBPyConnection) -> np.ndarray:
    """doc_ids of those with a choice, ascending."""
    return asked.arrays(con, "routed_documents")["doc_id"]


def document_load_part(
    con: DuckDBPyConnection, first_doc_id: int, last_doc_id: int
) -> dict[str, np.ndarray]:
    """document_load() of the documents from one to another, both included."""
    ends = {"first_doc_id": first_doc_id, "last_doc_id": last_doc_id}
    return asked.arrays(con, "document_load_part", **ends)


def document_load(con: DuckDBPyConnection) -> pd.DataFrame:
    """doc_id, layer_id, expert_id, tokens; both phases, only what was chosen."""
    return asked.frame(con, "document_load")


def load_batches(
    con: DuckDBPyConnection, *, counted: str = "tokens"
) -> Iterator[dict[str, np.ndarray]]:
    """doc_id, layer_id, expert_id, phase (a place in PHASES), and tokens or weight_sum, in parts:
    what document_load() adds up."""
    rows = con.sql((asked.SQL / "load_batches.sql").read_text())
    rows = rows.select("doc_id", "layer_id", "expert_id", "phase", counted)
    for batch in rows.to_arrow_reader(LOAD_ROWS):
        yield {name: batch[name].to_numpy() for name in batch.schema.names}


def document_weights(con: DuckDBPyConnection) -> pd.DataFrame:
    """doc_id, layer_id, expert_id, weight_sum; both phases, only what was chosen."""
    return asked.frame(con, "document_weights")


def domain_k(con: DuckDBPyConnection) -> pd.DataFrame:
    """layer_id, domain, k (experts that ran for a token), tokens; only what occurs, domains in the
    order shown."""
    frame = asked.frame(con, "domain_k", **domain_parameters(con))
    return frame.sort_values("domain", key=lambda names: names.map(order), kind="stable")


def document_k(con: DuckDBPyConnection) -> pd.DataFrame:
    """doc_id, domain, layer_id, choices (sum of k), tokens, routed (tokens with k > 0)."""
    return asked.frame(con, "document_k", **domain_parameters(con))


def domain_parameters(con: DuckDBPyConnection) -> dict[str, object]:
    return domain_names([row["label"] for row in asked.rows(con, "domains")]).parameters()


def layer_choices(
    con: DuckDBPyConnection, layer_id: int, *, documents: int = MAX_DOCUMENTS
) -> pd.DataFrame:
    """unit, doc_id, position, token_id, rank, expert_id; of so many documents, always the same;
    those of a group follow one another."""
    frame = asked.frame(con, "layer_choices", layer_id=layer_id, documents=documents)
    return _with_unit(con, frame)


def token_id_choices(
    con: DuckDBPyConnection, layer_id: int, *, tokens: int | None = None
) -> pd.DataFrame:
    """unit, token_id, doc_id, expert_id, tokens, first_tokens (of rank 0); only what was chosen,
    a group after the other. Of whole documents until they hold so many tokens, always the same."""
    return _with_unit(con, asked.frame(con, "token_id_choices", layer_id=layer_id, tokens=tokens))


def _with_unit(con: DuckDBPyConnection, frame: pd.DataFrame) -> pd.DataFrame:
    unit = documents(con).set_index("doc_id").unit
    frame.insert(0, "unit", unit.loc[frame.doc_id].to_numpy())
    return frame.sort_values("unit", kind="stable", ignore_index=True)


def token_ids(con: DuckDBPyConnection) -> pd.DataFrame:
    """token_id, text (its name where that is empty), tokens."""
    return asked.frame(con, "token_ids")
