"""What a search finds in a trace, each part read once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries, word_rows
from analysis.ratios import share_interval
from analysis.word_experts import WordSums, word_lift_table
from app import stored, word_kinds
from app.studies import search, word_index
from app.trace import BY_IDENTITY, Trace
from app.views.search.within import EVERYWHERE, Within
from app.views.shared.layer_names import names_of

SHOWN_TEXTS, SHOWN_CONTEXTS = 200, 12
BEGINNING = 200  # characters of a text


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A token as pages show it, wherever it occurs."""

    text: str
    tokens: int
    documents: int
    selected: bool  # of the selected texts alone, which its experts' loads are of too
    read_tokens: int  # those whose choices and contexts were read
    read_documents: int
    domains: pd.DataFrame
    experts: pd.DataFrame  # word_lift_table()
    contexts: pd.DataFrame

    @property
    def tested(self) -> bool:
        return bool(self.experts.q.notna().any())


def _texts(trace: Trace, within: Within = EVERYWHERE) -> pd.DataFrame:
    """text, tokens of every word; the most frequent first. Not to be changed."""
    index = None if within else stored.beside(trace, word_kinds.WORDS)
    return _counted(trace, within) if index is None else index.frame


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=BY_IDENTITY)
def _counted(trace: Trace, within: Within) -> pd.DataFrame:
    with trace.cursor() as con:
        return word_rows.token_texts(con, doc_ids=within.doc_ids(trace))


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def words(trace: Trace, text: str, *, regex: bool, within: Within = EVERYWHERE) -> pd.DataFrame:
    """text, tokens of the words that a search names, best first."""
    return search.matching_words(_texts(trace, within), text, regex=regex)


def names_words(trace: Trace) -> bool:
    """Tokens have a text or an id."""
    return not trace.info.counts_only and not _texts(trace).empty


def usual_word(trace: Trace, within: Within) -> str:
    """One that occurs often; empty without any of letters."""
    if trace.info.counts_only:
        return ""
    spelled = (text.strip() for text in _texts(trace, within).text)
    return next((text for text in spelled if text.isalpha() and len(text) > 2), "")


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def beginning(trace: Trace, within: Within) -> str:
    """A few words of a text; empty without any."""
    with trace.cursor() as con:
        every = queries.documents(con)
    texts = every.text[every.doc_id.isin(within.documents(trace).doc_id)]
    first = (text.split()[:3] for text in texts if text.strip())
    return next((" ".join(words) for words in first if len(words) > 1), "")


def expert(trace: Trace, text: str) -> tuple[int, int] | None:
    layers = {names_of(trace).choice(layer_id): layer_id for layer_id in trace.layers}
    return search.expert_named(text, layers, trace.info.layer_sizes.tolist())


def document(trace: Trace, text: str) -> pd.DataFrame:
    """Its row of queries.documents(), with how it begins; empty where there is none."""
    number, every = search.number_named(text), stored.documents(trace)
    row = every[every.doc_id == (-1 if number is None else number)]
    if row.empty:
        return row
    with trace.cursor() as con:
        whole = queries.document_text(con, int(row.doc_id.iloc[0]))
    return row.assign(text=whole[:BEGINNING])


def word(trace: Trace, text: str, within: Within = EVERYWHERE) -> Word:
    return _word(trace, text, within, stored.source(trace, word_kinds.WORD_EXPERTS))


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def _word(trace: Trace, text: str, within: Within, source: str) -> Word:
    """`source`: of the index, if there is one."""
    most = word_index.most_read(trace.info, stored.domain_k(trace))
    sums = None if within else _indexed(trace, text)
    with trace.cursor() as con:
        held = word_rows.word_documents(con, text)
        held = held[held.doc_id.isin(within.documents(trace).doc_id)]
        read = word_rows.drawn(held, most=most)
        if sums is None:
            sums = _summed(trace, word_rows.word_choices(con, text, sorted(read.doc_id)))
        else:
            read = held
        shown = sorted(read.doc_id[:SHOWN_CONTEXTS])
        places = word_rows.word_places(con, text, shown)
        contexts = word_rows.token_contexts(con, places.doc_id.tolist(), places.position.tolist())
    load_LE = _loads(trace, within)
    return Word(
        text=text,
        tokens=int(held.tokens.sum()),
        documents=len(held),
        selected=bool(within),
        read_tokens=int(read.tokens.sum()),
        read_documents=len(read),
        domains=_by_domain(trace, held, within),
        experts=word_lift_table(sums, load_LE, experts_L=trace.info.layer_sizes),
        contexts=contexts,
    )


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def _loads(trace: Trace, within: Within) -> np.ndarray:
    """Choices of all tokens of these texts [L, E]."""
    if not within:
        return np.nan_to_num(stored.expert_tokens(trace))
    load_LE = np.zeros((trace.info.num_layers, trace.info.num_experts))
    with trace.cursor() as con:
        rows = word_rows.load_of(con, within.doc_ids(trace) or [])
    load_LE[rows.layer_id, rows.expert_id] = rows.tokens
    return load_LE


def _summed(trace: Trace, choices: pd.DataFrame) -> WordSums:
    """Of rows of word_choices()."""
    unit = stored.documents(trace).set_index("doc_id").unit
    choices = choices.assign(group=unit.loc[choices.doc_id].to_numpy())
    info = trace.info
    return WordSums.of(choices, num_layers=info.num_layers, num_experts=info.num_experts)


def _indexed(trace: Trace, text: str) -> WordSums | None:
    """Over all texts; None: no index has the word."""
    words = stored.beside(trace, word_kinds.WORDS)
    experts = stored.beside(trace, word_kinds.WORD_EXPERTS)
    if words is None or experts is None:
        return None
    rows = experts.frame[experts.frame.text == text]
    if rows.empty:
        return None
    sums = np.zeros((3, trace.info.num_layers, trace.info.num_experts))
    sums[:, rows.layer_id, rows.expert_id] = rows[list(word_index.SUMS)].to_numpy().T
    n_groups = words.frame.n_groups[words.frame.text == text].iloc[0]
    return WordSums(sums[0], sums[1], sums[2], n_groups=int(n_groups))


def _by_domain(trace: Trace, held: pd.DataFrame, within: Within) -> pd.DataFrame:
    """domain, tokens (of the word), per_thousand (of the domain's tokens) with the ends of its
    interval over groups, n_documents (with it), of_texts; domains that have it, in the order
    shown."""
    table = within.documents(trace).rename(columns={"tokens": "size"})
    table = table.merge(held[["doc_id", "tokens"]], how="left", on="doc_id").fillna({"tokens": 0})
    rows = []
    for domain in trace.domains:
        of = table[table.domain == domain]
        if of.empty:
            continue
        groups = of.groupby("unit")[["tokens", "size"]].sum()
        share = share_interval(groups.tokens.to_numpy(), groups["size"].to_numpy())
        rows.append(
            {
                "domain": domain,
                "tokens": int(of.tokens.sum()),
                "per_thousand": 1000 * share["estimate"],
                "low": 1000 * share["low"],
                "high": 1000 * share["high"],
                "n_documents": int((of.tokens > 0).sum()),
                "of_texts": len(of),
            }
        )
    found = pd.DataFrame(rows)
    return found[found.tokens > 0].reset_index(drop=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """Where a pattern matches."""

    documents: int
    of: int  # texts that were searched
    domains: pd.DataFrame  # domain, n_documents (that match), of_texts
    texts: pd.DataFrame  # the first of them, in order


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_IDENTITY)
def phrase(trace: Trace, pattern: str, within: Within = EVERYWHERE) -> Phrase:
    every = within.documents(trace)
    with trace.cursor() as con:
        found = every[every.doc_id.isin(word_rows.phrase_documents(con, pattern))]
        doc_ids = found.doc_id.tolist()
        excerpts = word_rows.phrase_excerpts(con, pattern, doc_ids[:SHOWN_TEXTS])
    by_domain = every.groupby("domain", sort=False).size().rename("of_texts").to_frame()
    by_domain.insert(0, "n_documents", found.groupby("domain").size())
    by_domain = by_domain.reindex([name for name in trace.domains if name in by_domain.index])
    by_domain = by_domain.dropna().astype(int).rename_axis("domain").reset_index()
    columns = ["doc_id", "domain", "group", "tokens"]
    return Phrase(
        documents=len(doc_ids),
        of=len(every),
        domains=by_domain,
        texts=excerpts.rename(columns={"match": "text"}).merge(found[columns], on="doc_id"),
    )


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs=BY_IDENTITY)
def has_texts(trace: Trace) -> bool:
    with trace.cursor() as con:
        return bool((queries.documents(con).text != "").any())
