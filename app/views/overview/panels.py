"""How many experts work for each domain, and the article's three diagnostics."""

import pandas as pd

from analysis import queries
from analysis.significance import MAX_Q, NOT_ENOUGH
from analysis.specialization import MIN_LIFT, NONE
from app import evidence
from app.trace import Trace
from app.views.load_balance import summary
from app.views.overview import diagnostics
from app.views.overview.figures import ARTICLE_SHARE, domains_by_layer, experts_per_domain_bars
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

METHOD = (
    "experts_per_domain",
    "expert_domain",
    "load_imbalance",
    "busiest_share",
    "information_share",
    "distinct_share",
    "diagnostics",
)


def headline(trace: Trace) -> list[tuple[str, str, str]]:
    info, metrics = trace.info, evidence.metrics(trace)
    figures = [
        ("Tokens", f"{info.num_tokens:,}", f"{info.num_documents:,} texts"),
        summary.busiest(metrics),
        summary.mean(metrics, "busiest_share", "Load of the three busiest", "balanced"),
        summary.dead(metrics, info.num_experts),
    ]
    if evidence.compares_domains(trace):
        label, null = "Domain information", "shuffled labels"
        figures.append(summary.mean(metrics, "information_share", label, null))
    return figures


def panels(trace: Trace, palette: Palette) -> list[Panel]:
    """Where there are no domains to compare, only their texts and tokens."""
    if not evidence.compares_domains(trace):
        return [_domains(trace)]
    whole, by_layer = evidence.expert_counts(trace)
    return [
        _experts(whole, palette),
        _domains(trace),
        *diagnostics.panels(trace, palette),
        Panel(
            name="experts_per_domain_by_layer",
            table=by_layer,
            figure=domains_by_layer(by_layer, palette),
            alt="Stacked bars: experts per domain in each layer",
        ),
    ]


def _domains(trace: Trace) -> Panel:
    with trace.cursor() as con:
        table = queries.domain_tokens(con).rename(columns={"documents": "texts"})
    return Panel(name="domains", table=table, preview=table)


def _experts(table: pd.DataFrame, palette: Palette) -> Panel:
    return Panel(
        name="experts_per_domain",
        table=table.assign(article_share=table.domain.map(ARTICLE_SHARE).astype(float)),
        answer=_experts_answer(table),
        figure=experts_per_domain_bars(table, palette),
        alt="Bars: number and share of experts that belong to each domain",
        note=(
            f"Experts: those whose highest lift, at least {MIN_LIFT:g}×, is in this domain. "
            f"Significant: those with a lift of at least {MIN_LIFT:g}×, q < {MAX_Q} and an "
            "interval above 1×; an expert can be significant for several domains. Undecided: "
            f"{NOT_ENOUGH}. Article: the shares printed in “DeepSeek MoE: towards ultimate "
            "expert specialization”, whose claims are listed in docs/article.md."
        ),
    )


def _experts_answer(table: pd.DataFrame) -> str:
    own = table[table.domain != NONE].sort_values("experts")
    most, least = own.iloc[-1], own.iloc[0]
    return (
        f"{own.experts.sum()} of {table.experts.sum()} experts ({own.share.sum():.0%}) work mainly "
        f"for one domain: {most.domain} has the most ({most.experts}), {least.domain} the fewest "
        f"({least.experts}). The others belong to no single domain."
    )
