"""What a map of experts on GPUs costs and saves. L = MoE layers, H = GPUs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.expert_bytes import expert_bytes
from analysis.placement import costs
from analysis.placement.table import BUSIEST, GPUS, READ_MOST, SGLANG
from app.studies.placement import BEFORE, Planned
from app.studies.placement_words import DASH, SHORT, number, titles, with_interval
from app.trace import Trace
from app.views.placement.figures import (
    gpu_load_heatmap,
    layer_bars,
    layer_dots,
    map_intervals,
    traffic_heatmap,
)
from app.views.placement.words import most_even, who_measures
from app.views.shared.intervals import Measure
from app.views.shared.layer_names import names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette

METHOD = (
    "place",
    "busiest_gpu",
    "gpu_balancedness_sglang",
    "gpu_balancedness_vllm",
    "gpu_balancedness_vllm_before_fix",
    "experts_read",
    "routes",
    "gpu_pair_traffic",
    "moved_places",
    "judging_half",
)
IMBALANCE = Measure("busiest GPU, × the mean load", ".2f", "×")


def headline(of: Planned) -> list[tuple[str, str, str]]:
    shown = [
        (BUSIEST, "Busiest GPU"),
        (SGLANG, "Balancedness, SGLang"),
        (READ_MOST, "Experts read, GPU with most"),
        (GPUS, "GPUs a token reaches"),
    ]
    figures = [_before_after(of, *one) for one in shown if of.compared.has(one[0])]
    moved_L = costs.moved_places(of.plan, of.before)
    places = moved_L.size * of.plan.cluster.num_places
    return [*figures, ("Experts to move", f"{moved_L.sum():,}", f"of {places:,} places")]


def _before_after(of: Planned, measure: str, label: str) -> tuple[str, str, str]:
    before, after = (of.compared.row(plan, measure) for plan in (BEFORE, of.settings.policy))
    value = f"{number(before.estimate, measure)} → {number(after.estimate, measure)}"
    span = "" if pd.isna(after.low) else f"{after.low:.2f}{DASH}{after.high:.2f}, "
    return label, value, f"{span}random {after.random:.2f}"


def panels(trace: Trace, palette: Palette, *, of: Planned) -> list[Panel]:
    return [
        policy_panel(of, palette),
        *load_panels(trace, of, palette),
        *traffic_panels(of, palette),
        *layer_panels(trace, of, palette),
    ]


def load_panels(trace: Trace, of: Planned, palette: Palette) -> list[Panel]:
    """Before and after, in the same colours."""
    names = names_of(trace)
    shown = {"before": of.before, "after": of.plan}
    titled = _titled(of)
    panels = []
    for when, plan in shown.items():
        relative_LH = of.relative_loads(plan)
        panels.append(
            Panel(
                name=f"gpu_load_{when}",
                title=f"{titled[when][0].upper()}{titled[when][1:]}",
                table=_load_table(relative_LH),
                figure=gpu_load_heatmap(relative_LH, palette, names=names),
                alt=f"Heatmap: load of every GPU in every layer, {when}, relative to the mean",
            )
        )
    return panels


def _titled(of: Planned) -> dict[str, str]:
    names = titles(of)
    return {"before": names[BEFORE], "after": f"plan: {names[of.settings.policy]}"}


def _load_table(relative_LH: np.ndarray) -> pd.DataFrame:
    layer_id, gpu = np.indices(relative_LH.shape).reshape(2, -1)
    return pd.DataFrame({"layer_id": layer_id, "gpu": gpu, "relative_load": relative_LH.ravel()})


def policy_panel(of: Planned, palette: Palette) -> Panel:
    table = of.compared.table
    rows = table[table.measure == BUSIEST].assign(name=lambda rows: rows.plan.map(titles(of)))
    note = table.note.iloc[0]
    return Panel(
        name="placement_policies",
        title="Policies side by side",
        table=table,
        answer=most_even(of),
        figure=map_intervals(
            rows,
            palette,
            measure=IMBALANCE,
            series={"": "busiest GPU"},
            references={
                "balanced": 1.0,
                "random maps": float(rows.random.iloc[0]),
            },
        ),
        alt="Load of the busiest GPU under each policy, with intervals",
        note=(
            f"{who_measures(of)} SGLang, vLLM: balancedness as they call it; vLLM before its fix "
            "exchanged layers and GPUs, which says little about balance. Experts read: of a GPU "
            "for a batch, and of the GPU that reads most. "
            f"{note[:1].upper()}{note[1:]}{note and '.'}"
        ).strip(),
        preview=_side_by_side(of),
    )


def _side_by_side(of: Planned) -> pd.DataFrame:
    """A row a policy, a column a measure."""
    table, names = of.compared.table, titles(of)
    shown = {
        measure: {names[row.plan]: with_interval(row) for _, row in of.iterrows()}
        for measure, of in table.groupby("measure", sort=False)
    }
    named = {SHORT[str(measure)]: cells for measure, cells in shown.items()}
    floor = {
        SHORT[str(measure)]: number(of.random.iloc[0], str(measure))
        for measure, of in table.groupby("measure", sort=False)
    }
    frame = pd.DataFrame(named)
    frame.loc["random maps"] = pd.Series(floor)
    return frame.rename_axis("policy").reset_index()


def traffic_panels(of: Planned, palette: Palette) -> list[Panel]:
    """None where no single choice of the texts that judge was read."""
    pairs = of.traffic.items()
    return [panel for what, shares in pairs for panel in _pair_panels(of, palette, what, shares)]


def _pair_panels(
    of: Planned, palette: Palette, what: str, shares: Mapping[str, np.ndarray]
) -> list[Panel]:
    apart = [share[~np.eye(len(share), dtype=bool)] for share in shares.values()]
    high = max((float(one.max()) for one in apart if one.size), default=0.0)
    if not high:
        return []
    ends = min(float(one.min()) for one in apart), high
    titled = _titled(of)
    panels = []
    for when, share in shares.items():
        one, other = np.indices(share.shape).reshape(2, -1)
        table = pd.DataFrame({"first": one, "second": other, "share_of_tokens": share.ravel()})
        panels.append(
            Panel(
                name=f"{what.lower()}_traffic_{when}",
                title=f"{what[0].upper()}{what[1:]}s that serve the same token, {titled[when]}",
                table=table,
                figure=traffic_heatmap(share, palette, ends=ends, what=what),
                alt=f"Heatmap: share of tokens that two {what}s serve in a layer, {when}",
            )
        )
    return panels


def layer_panels(trace: Trace, of: Planned, palette: Palette) -> list[Panel]:
    names, size = names_of(trace), expert_bytes(trace.info)
    table = of.by_layer(expert_bytes=size)
    moved = int(table.moved_experts.sum())
    weight = "" if size is None else f", {moved * size / 1e9:,.2f} GB of weights"
    return [
        Panel(
            name="placement_by_layer",
            title="Layer by layer",
            table=table,
            figure=layer_dots(table, palette, before=titles(of)[BEFORE], names=names),
            alt="Load of the busiest GPU in every layer, before and after, with intervals",
        ),
        Panel(
            name="moved_experts",
            title=f"Moving to the plan: {moved:,} experts{weight}",
            table=table[["layer_id", "moved_experts", "places"]],
            figure=layer_bars(
                table.moved_experts.tolist(), palette, title="experts to move", names=names
            ),
            alt="How many experts each layer brings to GPUs that do not hold them",
        ),
    ]
