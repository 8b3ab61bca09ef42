"""The tables of a trace that resample and test its texts: by pages where it is small, else by
`routescope summarize`, in the same words and numbers.

N = groups of texts, L = MoE layers, E = routed experts, G = domains.
"""

from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import arrays, queries, significance
from analysis.diagnostics import is_low_resource
from analysis.domain_counts import domain_counts
from analysis.expert_loads import expert_load_table
from analysis.groups import MIN_EFFECTIVE, effective_numbers, summed, too_few, units
from analysis.influence import design_effect, spread
from analysis.metric_intervals import metric_table
from analysis.queries import TraceInfo
from analysis.replication import replication
from analysis.significance import lift_table, specialists

SEED = 0
GROUP = "group"  # the unit of evidence of every table but by_unit()


class Compared(TypedDict):
    domains: tuple[str, ...]
    experts_L: np.ndarray


def compared(info: TraceInfo) -> Compared:
    """What tables of figures are of: domains, and the experts that each layer has."""
    return {"domains": info.domains, "experts_L": info.layer_sizes}


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of texts with a token, of all domains or of one."""

    info: TraceInfo
    tokens_NLE: np.ndarray
    domain_id_N: np.ndarray

    @classmethod
    def of(cls, con: DuckDBPyConnection, info: TraceInfo) -> "Groups":
        return cls(info, *arrays.group_array(con, info))

    def domain(self, domain: str) -> "Groups":
        member_N = self.domain_id_N == self.info.domains.index(domain)
        return Groups(self.info, self.tokens_NLE[member_N], self.domain_id_N[member_N])

    def present(self) -> list[str]:
        """Domains with a token."""
        return [self.info.domains[place] for place in np.unique(self.domain_id_N)]


def lifts(groups: Groups) -> pd.DataFrame:
    counts = groups.tokens_NLE, groups.domain_id_N
    return lift_table(*counts, **compared(groups.info), seed=SEED)


def metrics(groups: Groups) -> pd.DataFrame:
    counts = groups.tokens_NLE, groups.domain_id_N
    return metric_table(*counts, **compared(groups.info), seed=SEED)


def loads(groups: Groups) -> pd.DataFrame:
    counts = groups.tokens_NLE, groups.domain_id_N
    return expert_load_table(*counts, experts_L=groups.info.layer_sizes)


def counts(groups: Groups) -> pd.DataFrame:
    of = groups.tokens_NLE, groups.domain_id_N
    return domain_counts(*of, **compared(groups.info), seed=SEED)


def replicated(groups: Groups) -> pd.DataFrame:
    counts = groups.tokens_NLE, groups.domain_id_N
    return replication(*counts, **compared(groups.info), seed=SEED)


def low_resource_metrics(con: DuckDBPyConnection, info: TraceInfo) -> pd.DataFrame | None:
    """The metric_table of texts in low-resource languages; None where there are none."""
    texts = queries.documents(con).query("tokens > 0")
    low = texts[texts.origin.map(is_low_resource).astype(bool)]
    if low.empty:
        return None
    tokens_NLE, _ = arrays.group_array(con, info, doc_ids=low.doc_id.to_numpy())
    one_N = np.zeros(len(tokens_NLE), dtype=int)
    return metric_table(
        tokens_NLE, one_N, domains=["low-resource"], experts_L=info.layer_sizes, seed=SEED
    )


def limits(groups: Groups) -> list[str]:
    """What these groups cannot show, a line each; layers are called by their numbers."""
    of = groups.tokens_NLE, groups.domain_id_N
    lines = significance.limits(*of, **compared(groups.info))
    if few := too_few(groups.tokens_NLE.sum((1, 2)), groups.domain_id_N):
        lines.append(f"The figures of a layer have no intervals: {few}.")
    return lines


def by_domain(con: DuckDBPyConnection, groups: Groups, *, grouped: bool) -> pd.DataFrame:
    """domain, n_documents and n_groups (with a token), effective_number (of groups), design_effect
    (of the experts' shares; NA where groups are unknown), n_tokens; a row a domain with tokens."""
    info, num_domains = groups.info, len(groups.info.domains)
    tokens, doc_ids = arrays.document_array(con, info)
    texts = queries.documents(con).set_index("doc_id").loc[doc_ids]
    place = pd.Index(info.domains).get_indexer(pd.Index(texts.domain))
    effect_G = np.full(num_domains, np.nan)
    if len(doc_ids) and grouped:
        of_domains = partial(spread, num_domains=num_domains)
        by_group, by_document = (
            [of_domains(of_NE, of_domain) for of_NE in of.swapaxes(0, 1)]
            for of, of_domain in ((groups.tokens_NLE, groups.domain_id_N), (tokens, place))
        )
        effect_G = design_effect(by_group, by_document)
    load_N, domain_id_N = groups.tokens_NLE.sum((1, 2)), groups.domain_id_N
    table = pd.DataFrame(
        {
            "domain": info.domains,
            "n_documents": np.bincount(place, minlength=num_domains),
            "n_groups": np.bincount(domain_id_N, minlength=num_domains),
            "effective_number": effective_numbers(load_N, domain_id_N, num_domains=num_domains),
            "design_effect": pd.array(effect_G, dtype="Float64"),
            "n_tokens": np.bincount(place, texts.tokens, minlength=num_domains).astype(int),
        }
    )
    return table[table.n_groups > 0].reset_index(drop=True)


def by_unit(con: DuckDBPyConnection, info: TraceInfo) -> pd.DataFrame:
    """Of a corpus: unit, n_units, specialists (pairs of an expert and a domain), too_few (the
    domains with not enough units to be tested)."""
    tokens_NLE, doc_ids = arrays.document_array(con, info)
    texts = queries.documents(con).set_index("doc_id").loc[doc_ids]
    domain_id_N = pd.Index(info.domains).get_indexer(pd.Index(texts.domain))
    domains, origins = texts.domain.tolist(), texts.origin.tolist()
    unit_of = {
        "text": np.arange(len(doc_ids)),
        GROUP: texts.unit.to_numpy(),
        "sublabel": units(domains, origins),
        "source": units(domains, [origin.partition("/")[0] for origin in origins]),
    }
    rows = []
    for unit, unit_N in unit_of.items():
        first = np.unique(unit_N, return_index=True)[1]
        one = Groups(info, summed(tokens_NLE, unit_N), domain_id_N[first])
        found = len(specialists(lifts(one)))
        counted = {"n_units": len(first), "specialists": found}
        rows.append({"unit": unit} | counted | {"too_few": ", ".join(_too_few(one))})
    return pd.DataFrame(rows)


def _too_few(groups: Groups) -> list[str]:
    domains, present = groups.info.domains, np.unique(groups.domain_id_N)
    load_N = groups.tokens_NLE.sum((1, 2))
    effective_G = effective_numbers(load_N, groups.domain_id_N, num_domains=len(domains))
    return [domains[place] for place in present if effective_G[place] < MIN_EFFECTIVE]
