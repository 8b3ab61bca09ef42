"""Two traces of the same texts, token by token: how often a decision is another one, by how much,
where, and which experts correspond."""

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from analysis.groups import MIN_EFFECTIVE
from analysis.significance import MAX_Q
from app.studies.matched import MatchedTraces, matched_traces
from app.trace import BY_IDENTITY, Trace
from app.views.compare import flips_figures as figures
from app.views.compare.matching_panels import by_routing
from app.views.compare.words import percent, span
from app.views.shared.layer_names import LayerNames, names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette, visible
from app.workspace import JOB_SECONDS
from data.words import counted

METHOD = (
    "flip_table",
    "tokens_that_differ",
    "flips_by_margin",
    "rounding_level",
    "unrelated_places",
    "flips_by_string",
    "match_by_choices",
    "match_by_weights",
    "matching_agreement",
)
TITLES = {  # of FIGURES that have a null; what a share is of
    "flip_rate": "decisions that choose another set of experts",
    "choices_exchanged": "choices exchanged",
    "first_choice_changed": "decisions whose first choice changes",
    "mean_jaccard": "overlap of the chosen sets (Jaccard)",
    "order_reversed": "pairs of kept experts in reversed order",
    "weight_distance": "distance of the weights",
}
INTERVALS = "Bars: 95 % intervals over groups of texts."
WITHOUT = "all texts agree, or too few independent ones are known to say"
UNRELATED = (
    "Unrelated routers: the same figure when every token is compared with another one of its "
    "domain, so loads are the same and nothing else."
)


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_IDENTITY)
def study(first: Trace, second: Trace) -> MatchedTraces:
    """ValueError: nothing is in both, or no expert is matched."""
    seconds = JOB_SECONDS  # of a large trace its decisions take longer than a page has
    with first.cursor(seconds=seconds) as con, second.cursor(seconds=seconds) as other:
        infos = [replace(of.info, name=of.name) for of in (first, second)]  # as sentences call it
        return matched_traces((con, infos[0]), (other, infos[1]))


def offered(found: MatchedTraces) -> dict[str, str]:
    """TITLES of the figures that occur, and which they are of: weights may be unknown."""
    known = set(found.flips.figure)
    return {title: figure for figure, title in TITLES.items() if figure in known}


def panels(
    first: Trace,
    second: Trace,
    palette: Palette,
    *,
    figure: str = "flip_rate",
    layer_id: int = 0,
) -> list[Panel]:
    """figure: one of offered(); layer_id: whose experts' matching is shown. Raises as study()."""
    found, names = study(first, second), names_of(first)
    shown = [
        _by_layer(found, palette, figure=figure, names=names),
        _by_group(found, palette, figure=figure),
    ]
    if len(found.margins):
        shown.append(_by_margin(found, palette))
    if len(found.tokens):
        shown += [_tokens(found), _strings(found)]
    titles = first.name, second.name
    return [*shown, by_routing(found, palette, layer_id=layer_id, titles=titles, names=names)]


def _by_layer(found: MatchedTraces, palette: Palette, *, figure: str, names: LayerNames) -> Panel:
    table = found.flips
    rows = table[(table.by == "layer") & (table.figure == figure)]
    renamed = (
        f" Experts were matched on one half of the texts ({found.renamed}) and are compared on the "
        "other half, under the names of the first model; a choice of an unmatched one is exchanged."
        if found.renamed
        else ""
    )
    return Panel(
        name="flips_by_layer",
        table=table,
        title="Decisions that differ, by layer",
        answer=flip_answer(found, names),
        figure=figures.by_layer(rows, palette, title=TITLES[figure], names=names),
        alt=f"{TITLES[figure]} by layer, with intervals and what unrelated routers give",
        note=f"{found.said} {INTERVALS} {UNRELATED}{renamed}",
    )


def flip_answer(found: MatchedTraces, names: LayerNames) -> str:
    """How many decisions and tokens differ, each beside its null."""
    rates = found.flips[found.flips.figure == "flip_rate"]
    whole, layers = rates[rates.by == "all"].iloc[0], rates[rates.by == "layer"]
    if not whole.estimate:
        return (
            f"No decision differs: all {found.differ['n']:,} {found.by} choose the same experts in "
            f"all layers; with unrelated routers {percent(whole.unrelated)} would differ."
        )
    least, most = _ends(layers)
    layers_said = (
        f", from {percent(least.estimate)} in {names[int(least.layer_id)]} to "
        f"{percent(most.estimate)} in {names[int(most.layer_id)]}"
        if least.estimate < most.estimate
        else ""
    )
    choices = found.flips[(found.flips.figure == "choices_exchanged") & (found.flips.by == "all")]
    differ = found.differ
    return (
        f"{percent(whole.estimate)} of decisions choose another set of experts"
        f"{_span(whole.low, whole.high)}{layers_said}; unrelated routers would differ in "
        f"{percent(whole.unrelated)}. {percent(choices.estimate.iloc[0])} of single choices are "
        f"exchanged, {percent(choices.unrelated.iloc[0])} with unrelated routers. "
        f"{percent(differ['estimate'])} of {found.by} differ in at least one layer"
        f"{_span(differ['low'], differ['high'])}: {percent(differ['independent'])} would if layers "
        f"differed independently, {percent(differ['unrelated'])} with unrelated routers."
    )


def _ends(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The lowest and the highest."""
    ordered = rows.sort_values("estimate", kind="stable")
    return ordered.iloc[0], ordered.iloc[-1]


def _span(low: float, high: float) -> str:
    return "" if pd.isna(low) else f" ({span(low, high)})"


def _by_group(found: MatchedTraces, palette: Palette, *, figure: str) -> Panel:
    table = found.flips
    rows = table[table.by.isin(["domain", "phase"]) & (table.figure == figure)]
    if (rows.by == "phase").sum() == 1:  # it would be all there is
        rows = rows[rows.by == "domain"]
    rates = rows[rows.by == "domain"]
    answer = ""
    if len(rates) > 1:
        least, most = _ends(rates)
        apart = most.low > least.high
        ends = percent(most.estimate), percent(least.estimate)
        answer = (
            f"{ends[0]} in every domain."
            if ends[0] == ends[1]
            else f"Highest in {most.domain} ({ends[0]}), lowest in {least.domain} ({ends[1]}); "
            f"their intervals {'do not overlap' if apart else 'overlap, or are not known'}."
        )
    return Panel(
        name="flips_by_domain",
        table=rows.drop(columns="layer_id"),
        title="By domain and phase",
        answer=answer,
        figure=figures.by_group(rows, palette, title=TITLES[figure]),
        alt=f"{TITLES[figure]} by domain and phase, with intervals",
        note=f"All layers together. {INTERVALS} Without one: {WITHOUT}.",
    )


def _by_margin(found: MatchedTraces, palette: Palette) -> Panel:
    table = found.flips[found.flips.by == "all"].set_index("figure").estimate
    flips, near = table.get("flips_at_near_ties", np.nan), table.get("near_ties", np.nan)
    answer, level = "", ""
    if not pd.isna(flips):
        answer = (
            f"{percent(flips)} of the flips have a margin that rounding alone could turn around, "
            f"as {percent(near)} of all decisions have."
        )
    elif found.rounding:
        answer = "Nothing flips, so nothing is left to rounding."
    if found.rounding:
        level = (
            f" Dashed: the rounding level of {found.rounding} (median {found.level:.1g}): what "
            "arithmetic changes of a score, relative to its size."
        )
    return Panel(
        name="flips_by_margin",
        table=found.margins,
        title="Flips against the margin",
        answer=answer,
        figure=figures.by_margin(found.margins, palette, level=found.level),
        alt="Flip rate by margin of the decision in the first trace, with intervals",
        note=(
            "The margin is the score of the last expert chosen less that of the best one rejected. "
            "Where only close decisions flip, a small change was made everywhere; where wide ones "
            f"do, the router wants something else. {INTERVALS} No flip rate: fewer than "
            f"{MIN_EFFECTIVE} groups have such a margin.{level}"
        ),
    )


def _tokens(found: MatchedTraces) -> Panel:
    table = found.tokens
    texts = {name: table[name].map(visible) for name in ("before", "token", "after")}
    preview = table.assign(**texts).head(30)
    top = preview.iloc[0]
    return Panel(
        name="flipped_tokens",
        table=table,
        title="The tokens that differ most",
        answer=(
            f"“{top.token}” at position {top.position} of text {top.doc_id} differs in "
            f"{top.layers} of {counted(top.compared, 'layer', 'layers')}."
        ),
        note=(
            "layers: in how many the token chooses another set; exchanged: choices in all layers; "
            "mean margin: in the first trace, of the decisions that flip."
        ),
        preview=preview,
    )


def _strings(found: MatchedTraces) -> Panel:
    table = found.strings
    sure = table[table.q < MAX_Q]
    answer = f"No frequent token is sure to differ more often than all tokens do (q < {MAX_Q})."
    if len(sure):
        top, verb = sure.iloc[0], "differs" if len(sure) == 1 else "differ"
        answer = (
            f"{len(sure):,} of {len(table):,} frequent tokens {verb} "
            f"more often than all tokens (q < {MAX_Q}), first of all “{visible(top.token)}”: in "
            f"{percent(top.estimate)} of its decisions{_span(top.low, top.high)}, all in "
            f"{percent(top.expected)}."
        )
    return Panel(
        name="flips_by_string",
        table=table,
        title="The words that differ most",
        answer=answer,
        note=(
            "Flip rate of the decisions about a token, over all layers; expected: that of all "
            "tokens; q: corrected for all words here. In the order of the lower end of the "
            f"interval, so that a rare word is not first by chance. Empty: {WITHOUT}."
        ),
        preview=table.assign(token=table.token.map(visible)).head(30),
    )
