"""Where does this occur?"""

import streamlit as st

from app import word_kinds
from app.studies import search
from app.views.search import found, named, occurrences
from app.views.search.form import draw_examples, draw_form
from app.views.search.panels import METHOD
from app.views.search.within import PARTS, draw_within, selected
from app.views.shared import controls, left_out, needs
from app.views.shared.trace_choice import trace_page
from app.views.shared.unusable import draw_unusable

NO_WORDS = "This trace has neither the texts nor the ids of its tokens, so no token can be found."
NO_TEXTS = "This trace does not have its texts: tokens, domains, experts and numbers are found."

trace = trace_page("Where does this occur?", uses=PARTS)
typed, regex = draw_form()
within = selected()
draw_within(trace, within)
draw_unusable(trace, *word_kinds.BY_INDEX)
if not typed:
    draw_examples(trace, within)
    controls.method(*METHOD)
    left_out.stop()
try:
    text = search.asked_text(typed)
    pattern = search.pattern_of(text, regex=regex)
except ValueError as error:
    st.error(controls.unmarked(f"{error}."))
    left_out.stop()

some = False
if not regex:
    if expert := found.expert(trace, text):
        named.draw_expert(trace, expert)
        some = True
    document = found.document(trace, text)
    if len(document):
        named.draw_document(trace, document)
        some = True
    for domain in search.domains_named(text, trace.domains):
        named.draw_domain(trace, domain)
        some = True
if found.names_words(trace):
    words = found.words(trace, text, regex=regex, within=within)
    if len(words):
        occurrences.draw_words(trace, words, within)
        some = True
else:
    controls.note(f"{needs.COUNTS_ONLY}." if trace.info.counts_only else NO_WORDS)
if found.has_texts(trace):
    phrase = found.phrase(trace, pattern, within)
    if phrase.documents:
        occurrences.draw_phrase(trace, phrase, text, regex=regex)
        some = True
else:
    controls.note(NO_TEXTS)
if not some:
    what = "matches this expression" if regex else f"is called or contains “{search.quoted(text)}”"
    layers = f"layers 0 to {trace.info.num_layers - 1}, experts 0 to {trace.info.num_experts - 1}"
    where = "the selected texts" if within else "this trace"
    st.info(controls.unmarked(f"Nothing in {where} {what}. The trace has {layers}."))
controls.method(*METHOD)
