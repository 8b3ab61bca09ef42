"""A list of experts: which, how surely, and what it carries in texts that did not choose it."""

import pandas as pd

from app.studies.expert_lists.subject import ALL, ExpertList
from app.studies.expert_lists.tune import OTHERS
from app.trace import Trace
from app.views.expert_lists.figures import common_map, list_map, share_bars
from app.views.expert_lists.words import IN_ITS_OWN, MEASURED, hover_texts, map_note
from app.views.shared.intervals import Measure
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette, domain_colors

METHOD = {
    "prune": ("held_out", "listed_share", "least", "judging_half"),
    "merge": ("merge_pairs", "judging_half"),
    "quantize": ("coverage_table", "usage_groups", "held_out"),
    "tune": ("held_out", "listed_share", "until", "overlap", "judging_half"),
    "watch": ("load_differences", "periods", "alarm_table"),
}
PREVIEWS = {
    "quantize": "All experts, the rarest first",
    "watch": "All experts, the clearest change first",
}
MOST_DOMAINS = 16  # of a map of every two
SHARE, CLOSENESS = Measure("share", ".1%"), Measure("closeness", ".2f")
TITLES = {
    "prune": "What would be lost, by domain?",
    "merge": "How close are the pairs, by layer?",
    "quantize": "What do rare, ordinary and busy experts carry?",
    "tune": "How much do they carry, in the domain and elsewhere?",
}


def panels(trace: Trace, palette: Palette, found: ExpertList) -> list[Panel]:
    kind, names = found.settings.kind, names_of(trace)
    shown = [
        Panel(
            name=f"{kind}_list",
            table=found.experts,
            answer=found.answer,
            figure=list_map(
                found.value_LE,
                found.listed_LE,
                palette,
                kind=kind,
                hover_LE=hover_texts(found, names),
                names=names,
            ),
            alt=f"Heatmap: experts to {kind}, by layer",
            note=" ".join([map_note(found), *found.notes]),
            preview_title=PREVIEWS.get(kind, "The list"),
            preview=_preview(found),
        )
    ]
    if len(found.measured) and found.measured.estimate.notna().any():
        shown.append(_measured(trace, palette, found))
    if "targets_by_domain" in found.more:
        shown += _targets(palette, found)
    return shown


def _preview(found: ExpertList) -> pd.DataFrame:
    if found.settings.kind not in PREVIEWS:
        return found.listed
    rows = found.experts.drop(columns="listed")
    return rows if found.settings.kind == "watch" else rows.sort_values("tokens", kind="stable")


def _measured(trace: Trace, palette: Palette, found: ExpertList) -> Panel:
    kind, table = found.settings.kind, found.measured
    colors = domain_colors(trace.domains, palette) | {ALL: palette.accent, OTHERS: palette.neutral}
    if kind == "merge":
        names = names_of(trace)
        table = table.assign(name=[names[int(layer_id)] for layer_id in table["name"]])
    carried = {"merge": "closeness", "quantize": "share of all choices"}
    held_out = "held-out " if found.by_others else ""
    return Panel(
        name=f"{kind}_held_out",
        title=TITLES[kind],
        table=table,
        figure=share_bars(
            table,
            palette,
            colors=[colors.get(name, palette.accent) for name in table["name"]],
            measure=CLOSENESS if kind == "merge" else SHARE,
            title=carried.get(kind, f"{held_out}share that the list carries"),
        ),
        alt="Bars: what the list carries, beside chance",
        note=MEASURED[kind] if found.by_others else IN_ITS_OWN,
    )


def _targets(palette: Palette, found: ExpertList) -> list[Panel]:
    table, common = found.more["targets_by_domain"], found.more["targets_in_common"]
    colors = domain_colors(table.domain.tolist(), palette)
    largest = set(table.nlargest(MOST_DOMAINS, "n_groups").domain)
    mapped = common[common.domain.isin(largest) & common.other.isin(largest)]
    some = f" Shown are the {len(largest)} domains with most groups of texts."
    return [
        Panel(
            name="targets_by_domain",
            title="The lists of all domains",
            table=table,
            figure=share_bars(
                table.rename(columns={"domain": "name"}),
                palette,
                colors=[colors[domain] for domain in table.domain],
                measure=SHARE,
                title="held-out share of the domain that its own list carries",
            ),
            alt="Bars: held-out share of every domain that its own list carries",
            note="Each domain with the list that its own texts select, as above.",
            preview=table,
        ),
        Panel(
            name="targets_in_common",
            title="What the lists of two domains have in common",
            table=common,
            figure=common_map(mapped, palette),
            alt="Heatmap: share of target experts that two domains have in common",
            note=(
                "Dice's coefficient of the two lists. Random lists of these sizes would have "
                f"{common.chance.min():.0%} to {common.chance.max():.0%} in common."
                f"{some if len(largest) < len(table) else ''}"
            ),
        ),
    ]
