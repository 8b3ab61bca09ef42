"""How many experts prefer each domain, and the article's three diagnostics."""

from functools import partial

import pandas as pd

from analysis.groups import MIN_EFFECTIVE
from analysis.significance import MAX_Q
from analysis.specialization import MIN_DOMAIN_TOKENS, MIN_LIFT, MIN_MARGIN
from app import evidence, sample
from app.studies.summary import groups_said
from app.trace import Trace
from app.views.load_balance import summary
from app.views.overview import diagnostics, layers, units
from app.views.overview.figures import (
    ARTICLE_SHARE,
    cut_at,
    domains_by_layer,
    drawn_rows,
    experts_per_domain_bars,
)
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel, of_domains
from app.views.shared.theme import Palette
from data.labels import ANY, NONE, TOO_LITTLE

RULE = (
    f"at least {MIN_LIFT:g} times as often in it as over all texts, and {MIN_MARGIN:g} times as "
    "often as in any other"
)
EFFECTIVE_NOTE = (
    "Effective: so many groups of equal length tell as much as these; a domain with fewer than "
    f"{MIN_EFFECTIVE} has no intervals and no tests."
)
DESIGN_NOTE = (
    "Design effect: how many times as large the variance of the experts' shares is as it would be "
    "if all texts were independent."
)
ARTICLE_NOTE = (
    "Article: the shares printed in “DeepSeek MoE: towards ultimate expert specialization”, whose "
    "claims are listed in docs/article.md."
)
CUT_NOTE = "»: the bar goes on; its length is the share beside it."
METHOD = (
    "experts_per_domain",
    "preferences",
    "expert_domain",
    "load_imbalance",
    "busiest_share",
    "information_share",
    "distinct_share",
    "diagnostics",
)


def headline(trace: Trace) -> list[tuple[str, str, str]]:
    info, metrics = trace.info, evidence.metrics(trace)
    counted = ("Tokens", info.num_tokens)
    if info.counts_only:
        counted = ("Choices", sample.num_choices(trace))
    figures = [
        (counted[0], f"{counted[1]:,}", sample.size(trace)),
        summary.busiest(metrics, names_of(trace)),
        summary.mean(metrics, "busiest_share", "Load of the three busiest", "balanced"),
        summary.dead(evidence.absence(trace)),
    ]
    if evidence.compares_domains(trace):
        label, null = "Domain information", "shuffled"
        figures.append(summary.mean(metrics, "information_share", label, null))
    return figures


def panels(trace: Trace, palette: Palette) -> list[Panel]:
    """Where there are no domains to compare, only their texts and tokens."""
    if not evidence.compares_domains(trace):
        return [_domains(trace)]
    return [experts(trace, palette), *more_panels(trace, palette)]


def more_panels(trace: Trace, palette: Palette) -> list[Panel]:
    """Below the answer; of one domain, all there is."""
    if not evidence.compares_domains(trace):
        return [_domains(trace)]
    by_layer = evidence.expert_counts(trace)[1]
    return [
        _domains(trace),
        *units.panels(trace),
        *diagnostics.panels(trace, palette),
        Panel(
            name="experts_per_domain_by_layer",
            table=by_layer,
            figure=domains_by_layer(by_layer, palette, names=names_of(trace)),
            alt="Stacked bars: experts per domain in each layer",
            names=lambda x, y: {"layer_id": round(y)},
        ),
        layers.panel(trace),
    ]


def _domains(trace: Trace) -> Panel:
    table = evidence.domains(trace)
    return Panel(
        name="domains",
        table=table,
        title="Texts by domain",
        preview=table,
        note=(
            EFFECTIVE_NOTE if groups_said(trace.info) is None else f"{EFFECTIVE_NOTE} {DESIGN_NOTE}"
        ),
    )


def experts(trace: Trace, palette: Palette) -> Panel:
    """The answer to the page's question, where there are domains to compare."""
    table = evidence.expert_counts(trace)[0]
    return Panel(
        name="experts_per_domain",
        table=table.assign(article_share=table.domain.map(ARTICLE_SHARE).astype(float)),
        answer=_experts_answer(table),
        figure=experts_per_domain_bars(table, palette),
        alt="Bars: number and share of experts that prefer each domain",
        names=partial(of_domains, list(drawn_rows(table).domain)),
        note=(
            f"Experts: those whose highest lift is in this domain, at least {MIN_LIFT:g}× and "
            f"{MIN_MARGIN:g} times the second highest, with {MIN_DOMAIN_TOKENS} choices or more in "
            f"that domain; “{TOO_LITTLE}” has those with fewer there. Of choices: the domain's "
            "share of the choices of its median expert. Significant: those of the experts with "
            f"q < {MAX_Q} and an interval above 1×; page Specialization counts each domain for "
            "which an expert is significant, so some experts twice."
            + (f" {ARTICLE_NOTE}" if table.domain.isin(list(ARTICLE_SHARE)).any() else "")
            + (f" {CUT_NOTE}" if cut_at(table) else "")
        ),
    )


def _experts_answer(table: pd.DataFrame) -> str:
    rows = table.set_index("domain").astype({"experts": object, "above_half": object})
    own = rows.drop([ANY, TOO_LITTLE, NONE]).sort_values("experts")
    whole, most, least = rows.loc[ANY], own.iloc[-1], own.iloc[0]
    total = rows.experts.drop(ANY).sum()
    if rows.experts[TOO_LITTLE] == total:
        return f"Of {total:,} experts there is too little data to say which domain they prefer."
    if whole.experts == 0:
        text = f"No expert of {total:,} prefers a domain: none is chosen {RULE}."
    else:
        text = (
            f"{whole.experts:,} of {total:,} experts ({whole.share:.0%}) prefer one domain: they "
            f"are chosen {RULE}. The median of them gives that domain {whole.median_share:.0%} of "
            f"its choices, {whole.above_half:,} of {whole.experts:,} more than half. {most.name} "
            f"has the most ({most.experts:,}), {least.name} the fewest ({least.experts:,})."
        )
    if not pd.isna(whole.null):
        text += f" With labels shuffled over groups of texts {whole.null:,.0f} would."
    if too_little := rows.experts[TOO_LITTLE]:
        text += f" Of {too_little:,} there is too little data to say."
    return text
