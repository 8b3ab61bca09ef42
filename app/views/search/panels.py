"""What was found of a word, of a phrase and of a domain."""

import numpy as np
import pandas as pd

from analysis.excess import MIN_EXPECTED
from analysis.significance import MAX_Q, specialists
from analysis.specialization import MIN_LIFT
from app import evidence
from app.studies.search import quoted
from app.trace import Trace
from app.views.search.figures import word_heatmap
from app.views.search.found import Phrase, Word
from app.views.shared import controls
from app.views.shared.heatmap import ZOOM, crowded, sure_mark
from app.views.shared.intervals import RATIO
from app.views.shared.layer_names import LayerNames, names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette, token_mark
from data.words import counted

METHOD = ("word_lift_table", "lift_table")
IN_A_LAYER = 3  # experts that are listed
CLEAREST = 40  # experts of a domain that are listed


def word_panel(trace: Trace, word: Word, palette: Palette, *, only_sure: bool) -> Panel:
    names, experts = names_of(trace), word.experts
    figure = note = None
    if word.tested:
        figure = word_heatmap(
            experts,
            palette,
            experts_L=trace.info.layer_sizes,
            only_sure=only_sure,
            names=names,
        )
        note = _note(word, crowded=crowded(trace.info.num_layers, trace.info.num_experts))
    return Panel(
        name="experts_of_a_token",
        table=experts,
        answer=word_answer(word, names),
        figure=figure,
        alt="Heatmap: how much more often the token chooses each expert than its load explains",
        note=note or "",
        preview=listed(experts),
        preview_title=f"The {IN_A_LAYER} experts of each layer that it chooses most beyond "
        "their loads",
    )


def word_answer(word: Word, names: LayerNames) -> str:
    """How often it occurs, and the expert that it prefers most clearly."""
    times = "once" if word.tokens == 1 else f"{word.tokens:,} times"
    where = f"“{spelled(word.text)}” occurs {times} in "
    where += f"{counted(word.documents, 'text', 'texts')}."
    if not word.tested:
        return f"{where} That is too little to say which experts it prefers."
    sure = word.experts[(word.experts.q < MAX_Q) & (word.experts.lift >= MIN_LIFT)]
    if sure.empty:
        return (
            f"{where} It chooses no expert at least {MIN_LIFT:g} times as often as the expert's "
            f"load explains, with q < {MAX_Q}."
        )
    best = sure.iloc[int(sure.low.argmax())]
    several = "one expert" if len(sure) == 1 else f"{len(sure):,} experts"
    return (
        f"{where} It chooses {several} at least {MIN_LIFT:g} times as often as their loads "
        f"explain, with q < {MAX_Q}; the clearest is expert {best.expert_id} of "
        f"{names[best.layer_id]} ({RATIO.text(best.lift)}, {RATIO.span(best.low, best.high)})."
    )


def spelled(word: str) -> str:
    """With its blanks: one before a word makes it another token."""
    return token_mark(word).replace(" ", "␣")


def listed(experts: pd.DataFrame) -> pd.DataFrame:
    """Of each layer those furthest above what their loads explain."""
    chosen = experts[experts.tokens > 0]
    beyond = (chosen.tokens - chosen.expected).sort_values(ascending=False, kind="stable")
    ordered = chosen.loc[beyond.index].groupby("layer_id").head(IN_A_LAYER)
    shown = ordered.sort_values("layer_id", kind="stable").reset_index(drop=True)
    return shown.drop(columns=["expected", "p", "n_groups"])


def _note(word: Word, *, crowded: bool) -> str:
    tested, zoom = int(word.experts.q.notna().sum()), ZOOM if crowded else ""
    where = " in the selected texts" if word.selected else ""
    return (
        f"Orange: chosen more often than the expert's load{where} explains, blue: less. "
        f"{sure_mark(crowded=crowded)}: q < {MAX_Q} ({tested:,} experts tested at once, "
        f"Benjamini-Hochberg). {'Grey' if crowded else 'Hatched'}: fewer than {MIN_EXPECTED} "
        "choices expected, so not tested. A word of one subject also shows that subject's "
        f"experts. Click a cell to open the expert's card.{zoom}"
    )


def domains_panel(word: Word) -> Panel:
    """Where a word occurs."""
    shown = ["domain", "tokens", "per_thousand", "low", "high"]
    return Panel(name="domains_of_a_token", table=word.domains, preview=word.domains[shown])


def phrase_answer(text: str, found: Phrase, *, regex: bool) -> str:
    what = "An expression matches" if regex else f"“{quoted(text)}” is"
    of = counted(found.of, "text", "texts")
    return f"{what} in {found.documents:,} of {of}."


def phrase_panel(found: Phrase) -> Panel:
    texts = found.texts
    columns = ["doc_id", "position", "domain", "group", "tokens", "matches"]
    table = texts.assign(excerpt=texts.before + texts.text + texts.after)[[*columns, "excerpt"]]
    return Panel(name="texts_found", table=table, preview=table[columns])


def domain_panel(trace: Trace, domain: str) -> Panel:
    """The specialists of a domain, the clearest first; where nothing is sure, the experts of the
    highest lift."""
    lifts = evidence.lifts(trace)
    rows = lifts[lifts.domain == domain]
    sure = specialists(rows)
    title = f"Specialists of {controls.unmarked(domain)} ({len(sure):,})"
    shown = sure
    if sure.empty:
        best = rows.estimate.dropna().sort_values(ascending=False, kind="stable")
        shown = rows.loc[best.index]
        title = f"Experts of the highest lift for {controls.unmarked(domain)}; none is sure"
    shown = shown.assign(
        lift=np.exp2(shown.estimate), low=np.exp2(shown.low), high=np.exp2(shown.high)
    )
    columns = ["layer_id", "expert_id", "domain", "lift", "low", "high", "q", "n_tokens", "note"]
    return Panel(
        name="experts_of_a_domain",
        table=rows[[*evidence.LIFT_COLUMNS]],
        title=title,
        preview=shown[columns].head(CLEAREST),
    )
