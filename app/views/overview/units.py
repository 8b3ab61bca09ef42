"""How many specialists there are if each text, group, sublabel or source is one observation."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import arrays, queries
from analysis.groups import MIN_EFFECTIVE, effective_numbers, summed, units
from analysis.significance import lift_table, specialists
from app import evidence, sample
from app.trace import BY_IDENTITY, Trace
from app.views.shared.panel import Panel

GROUP = "group"  # the unit of every other figure
HEADINGS = {"n_units": "number", "too_few": "too few in"}


def known(trace: Trace) -> bool:
    """The texts are of a corpus, and each says of which source and sublabel."""
    return trace.groups is not None and trace.groups["from"] == "corpus"


def panels(trace: Trace) -> list[Panel]:
    """Empty where sources are not known."""
    if not known(trace):
        return []
    table = by_unit(trace)
    return [
        Panel(
            name="specialists_by_unit",
            table=table,
            title="Specialists by unit of evidence",
            answer=_answer(table),
            note=(
                "A group is a work, a package, an author or a task; a sublabel is a part of a "
                "source, such as one of its languages. Too few: a domain with fewer than "
                f"{MIN_EFFECTIVE} units of equal length is not tested and has no specialists."
            ),
            preview=table.replace({"unit": {GROUP: f"{GROUP} (everywhere else)"}}).rename(
                columns=HEADINGS
            ),
        )
    ]


def _answer(table: pd.DataFrame) -> str:
    counts = table.set_index("unit").specialists
    others = [f"{counts[unit]:,} with the {unit}" for unit in counts.index.drop(GROUP)]
    return (
        f"With the group as the unit of evidence there are {counts[GROUP]:,} specialists; there "
        f"would be {', '.join(others[:-1])} and {others[-1]}. Only the count by group is used "
        "elsewhere."
    )


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def by_unit(trace: Trace) -> pd.DataFrame:
    """unit, n_units, specialists (pairs of an expert and a domain), too_few (the domains with not
    enough units to be tested)."""
    with trace.cursor() as con:
        tokens_NLE, doc_ids = arrays.document_array(con, trace.info)
        texts = queries.documents(con).set_index("doc_id").loc[doc_ids]
    domain_id_N = pd.Index(trace.domains).get_indexer(pd.Index(texts.domain))
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
        counts_NLE, of_N = summed(tokens_NLE, unit_N), domain_id_N[first]
        table = evidence.lifts(trace)
        if unit != GROUP:
            table = lift_table(counts_NLE, of_N, **sample.compared(trace), seed=evidence.SEED)
        few = _too_few(counts_NLE, of_N, trace.domains)
        counted = {"n_units": len(first), "specialists": len(specialists(table))}
        rows.append({"unit": unit} | counted | {"too_few": ", ".join(few)})
    return pd.DataFrame(rows)


def _too_few(
    tokens_NLE: np.ndarray, domain_id_N: np.ndarray, domains: tuple[str, ...]
) -> list[str]:
    present = np.unique(domain_id_N)
    effective_G = effective_numbers(tokens_NLE.sum((1, 2)), domain_id_N, num_domains=len(domains))
    return [domains[place] for place in present if effective_G[place] < MIN_EFFECTIVE]
