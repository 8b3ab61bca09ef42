"""Which experts of a trace are claimed to be specialists, by one half of its groups, and which
texts of the other half judge them.

D = documents, N = groups, L = MoE layers, E = routed experts.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import arrays, queries, significance
from analysis.causes import Claim
from analysis.domain_names import is_label
from analysis.groups import summed
from analysis.halves import MIN_HALF, judging_half
from analysis.queries import TraceInfo
from data.routing import Document

if TYPE_CHECKING:
    from model.encoded import Encoded

HALVES = 0  # seed of the halves: one for all runs on a trace
Expert = tuple[int, int]  # layer, expert


@dataclass(frozen=True, slots=True)
class Halves:
    lifts: pd.DataFrame  # lift_table of the half that chooses
    judges: pd.DataFrame  # doc_id, domain, unit, tokens: texts of the half that judges

    def claims(self) -> list[Claim]:
        return claims_of(significance.specialists(self.lifts))


def claims_of(rows: pd.DataFrame) -> list[Claim]:
    """Of rows with layer_id, expert_id and domain."""
    columns = (rows.layer_id.tolist(), rows.expert_id.tolist(), rows.domain.tolist())
    return list(zip(*columns, strict=True))


def halves(con: DuckDBPyConnection, info: TraceInfo) -> Halves:
    """Of the labelled groups of a trace."""
    choices_DLE, doc_ids = arrays.document_array(con, info)
    frame = queries.documents(con).set_index("doc_id").loc[doc_ids].reset_index()
    labelled_D = frame.domain.map(is_label).to_numpy(bool)
    domains = list(filter(is_label, info.domains))
    choices_DLE = choices_DLE[labelled_D]
    return halves_of(frame[labelled_D], choices_DLE, domains=domains, experts_L=info.layer_sizes)


def halves_of(
    frame: pd.DataFrame,
    choices_DLE: np.ndarray,
    *,
    domains: list[str],
    experts_L: np.ndarray | None = None,
) -> Halves:
    """frame: doc_id, domain, unit, tokens of every text, and its choices."""
    unit_D = frame.unit.to_numpy()
    _, first, unit_of_D = np.unique(unit_D, return_index=True, return_inverse=True)
    choices_NLE = summed(choices_DLE, unit_D)
    domain_id_N = pd.Index(domains).get_indexer(pd.Index(frame.domain.iloc[first]))
    judges_N = judging_half(summed(frame.tokens.to_numpy(), unit_D), domain_id_N, seed=HALVES)
    lifts = significance.lift_table(
        choices_NLE[~judges_N],
        domain_id_N[~judges_N],
        domains=domains,
        experts_L=experts_L,
        min_effective=MIN_HALF,
    )
    columns = ["doc_id", "domain", "unit", "tokens"]
    return Halves(lifts, frame.loc[judges_N[unit_of_D], columns].reset_index(drop=True))


def parse_experts(text: str, info: TraceInfo) -> list[Expert]:
    """`3:17,5:2` as layer and expert."""
    experts = []
    for part in text.split(","):
        layer, _, expert = part.strip().partition(":")
        if not (layer.isdigit() and expert.isdigit()):
            raise ValueError(f"{part!r} is not LAYER:EXPERT; write for example 3:17,5:2")
        if int(layer) >= info.num_layers:
            raise ValueError(
                f"there is no expert {part.strip()}: layers are 0 to {info.num_layers - 1}"
            )
        if int(expert) >= (num_experts := info.layers[int(layer)].num_experts):
            raise ValueError(
                f"there is no expert {part.strip()}: those of layer {int(layer)} are 0 to "
                f"{num_experts - 1}"
            )
        experts.append((int(layer), int(expert)))
    return list(dict.fromkeys(experts))


def targets_of(lifts: pd.DataFrame, experts: list[Expert] | None, *, top: int) -> list[Claim]:
    """The `top` clearest specialists of every domain, or the experts named, each with the domain in
    which it is clearest, or of highest lift if it is no specialist. Of a lift_table."""
    specialists = significance.specialists(lifts)
    if experts is None:
        if specialists.empty:
            raise ValueError(
                "the half of the texts that chooses has no specialist; name the experts to leave "
                "out as LAYER:EXPERT, such as --experts 3:17,5:2"
            )
        return claims_of(specialists.groupby("domain", sort=False).head(top))
    highest = lifts.dropna(subset="estimate").sort_values("estimate", ascending=False)
    highest = highest[highest.n_tokens > 0]
    known = pd.concat([specialists, highest], ignore_index=True)
    known = known.drop_duplicates(["layer_id", "expert_id"]).set_index(["layer_id", "expert_id"])
    for layer, expert in experts:
        if (layer, expert) not in known.index:
            raise ValueError(
                f"expert {layer}:{expert} is never chosen in the half of the texts that chooses, "
                "so no domain can be named that it serves; name another expert"
            )
    return claims_of(known.loc[experts].reset_index())


def sampled(judges: pd.DataFrame, *, tokens_per_domain: int, seed: int) -> pd.DataFrame:
    """Of the texts that judge, in seeded random order and one of every group before a second of
    any, as many as it takes until each domain has so many tokens; by doc_id."""
    frame = judges[judges.tokens > 0].sample(frac=1, random_state=seed)
    turn = frame.groupby("unit").cumcount()
    frame = frame.iloc[np.argsort(turn, kind="stable")]
    before = frame.groupby("domain").tokens.cumsum() - frame.tokens
    return frame[before < tokens_per_domain].sort_values("doc_id", ignore_index=True)


def encoded_of(con: DuckDBPyConnection, rows: pd.DataFrame) -> list["Encoded"]:
    """As the model was given them when the trace was made: with special tokens, those of a chat
    template and what it generated."""
    from model.encoded import Encoded

    encoded = []
    for doc_id, domain in zip(rows.doc_id.tolist(), rows.domain.tolist(), strict=True):
        tokens = queries.document_tokens(con, doc_id)
        pieces = tokens.text.tolist()
        document = Document(doc_id=doc_id, text="".join(pieces), domain=domain)
        unnamed: list[str | None] = [None] * len(pieces)
        encoded.append(Encoded(document, tokens.token_id.tolist(), pieces, unnamed))
    return encoded
