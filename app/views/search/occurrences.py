"""Where words and phrases occur, drawn."""

import pandas as pd
import streamlit as st

from app.trace import Trace
from app.views.search import found
from app.views.search.found import Phrase, Word
from app.views.search.panels import (
    domains_panel,
    phrase_answer,
    phrase_panel,
    spelled,
    word_panel,
)
from app.views.search.within import Within
from app.views.shared import contexts, controls, selecting
from app.views.shared.drawing import draw
from data.words import counted

MOST_WORDS, MOST_EXCERPTS = 50, 20
WORD = "word"  # in the link: which of the tokens found


def draw_words(trace: Trace, words: pd.DataFrame, within: Within) -> None:
    """One of those found, chosen where there are several."""
    st.subheader("Token", anchor=False)
    chosen = str(words.text.iloc[0]) if len(words) == 1 else _choose(words)
    _draw_word(trace, found.word(trace, chosen, within))


def _choose(words: pd.DataFrame) -> str:
    """Kept in the link while it is among those found."""
    tokens = dict(zip(words.text, words.tokens, strict=True))
    options, asked = list(tokens)[:MOST_WORDS], st.query_params.get(WORD)
    if asked not in options:
        st.query_params.pop(WORD, None)
    st.session_state[WORD] = asked if asked in options else options[0]

    def keep() -> None:
        st.query_params[WORD] = st.session_state[WORD]

    of = f" ({len(words):,}, {MOST_WORDS} listed)" if len(words) > MOST_WORDS else ""
    chosen = st.selectbox(
        f"Tokens found{of}",
        options,
        format_func=lambda text: f"{spelled(text)} · {tokens[text]:,}",
        key=WORD,
        on_change=keep,
        width=340,
    )
    return str(chosen)


def _draw_word(trace: Trace, word: Word) -> None:
    info = trace.info
    only_sure = word.tested and controls.only_sure(info.num_layers, info.num_experts)
    panel = word_panel(trace, word, controls.palette(), only_sure=only_sure)
    draw(panel, subject=trace, key="word_lift", on_select="rerun")
    if word.tested and (cell := controls.clicked("word_lift")):
        selecting.go("specialization", layers=cell[:1], experts=(cell,))
    if word.read_documents < word.documents:
        index = "The index, which is made by itself, has all occurrences."
        if word.selected:
            index = "The index is of all texts together, and not of those selected."
        controls.note(
            f"Experts: read {word.read_tokens:,} of its {word.tokens:,} occurrences, those in "
            f"{word.read_documents:,} of {word.documents:,} texts, always the same ones. Counts of "
            f"domains are of all. {index}"
        )
    left, right = st.columns(2, gap="large")
    with left:
        title = counted(len(word.contexts), "context", "contexts, each in another text")
        st.markdown(f"**{title}**")
        labels = [str(doc_id) for doc_id in word.contexts.doc_id]
        contexts.draw(word.contexts, trace, labels=labels, key="word_contexts")
        controls.download(word.contexts, name="contexts_of_a_token", trace=trace.name)
    with right:
        st.markdown("**How often in a thousand tokens of each domain**")
        draw(domains_panel(word), subject=trace)


def draw_phrase(trace: Trace, phrase: Phrase, text: str, *, regex: bool) -> None:
    st.subheader("Texts", anchor=False)
    controls.answer(phrase_answer(text, phrase, regex=regex))
    shown = phrase.texts.head(MOST_EXCERPTS)
    left, right = st.columns([6, 5], gap="large")
    with left:
        labels = [
            f"{doc_id} · {matches}×"
            for doc_id, matches in zip(shown.doc_id, shown.matches, strict=True)
        ]
        contexts.draw(shown, trace, labels=labels, key="excerpts")
    with right:
        st.markdown("**Domains**")
        controls.preview(phrase.domains, name="domains_found")
        st.markdown(f"**{_listed(phrase)}**")
        draw(phrase_panel(phrase), subject=trace)


def _listed(phrase: Phrase) -> str:
    if len(phrase.texts) == phrase.documents:
        return "Texts, and how often they match"
    return f"The first {len(phrase.texts):,} texts, and how often they match"
