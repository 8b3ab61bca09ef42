"""What differs between the experts of two traces, or of two parts of one: second over first."""

import numpy as np
import pandas as pd

from analysis.significance import MAX_Q
from app.studies.compared import Compared
from app.studies.comparing import ended_in_words
from app.trace import Trace
from app.views.compare import expert_figures as figures
from app.views.compare.words import percent, times, times_span
from app.views.shared.heatmap import ZOOM, crowded, sure_mark
from app.views.shared.layer_names import LayerNames, names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from data.words import counted

SHOWN = 10  # rows of a table, of experts that only one of the two chooses, and of the others


def loads(
    first: Trace, found: Compared, palette: Palette, *, only_sure: bool = False
) -> list[Panel]:
    """None where the two share no experts."""
    if found.loads is None:
        return []
    names, shape = names_of(first), (first.info.num_layers, first.info.num_experts)
    many, ordered = crowded(*shape), _ordered(found.loads)
    unmatched = len(found.loads) < first.info.layer_sizes.sum()
    return [
        Panel(
            name="load_differences",
            table=found.loads,
            answer=_loads_answer(found.loads, names),
            figure=figures.load_difference_heatmap(
                found.loads, palette, shape_LE=shape, only_sure=only_sure, names=names
            ),
            alt="Heatmap: load of every expert in the second over its load in the first",
            note="Colour: an expert's share of the layer's choices, second over first. "
            f"{_marks(many)}{' Empty: not matched.' if unmatched else ''}{ZOOM if many else ''}",
            preview=None if ordered.empty else _preview(ordered),
            preview_title="" if ordered.empty else "The largest significant changes",
        )
    ]


def _marks(many: bool) -> str:
    undecided = "Light grey" if many else "Hatched"
    return f"{sure_mark(crowded=many)}: q < {MAX_Q}. {undecided}: too few independent texts to say."


def _ordered(loads: pd.DataFrame) -> pd.DataFrame:
    """The significant changes, by how much of the layer's choices they move; first of all those of
    experts that only one of the two chooses."""
    sure = loads[loads.q < MAX_Q]
    by_points = (sure.second - sure["first"]).abs().sort_values(ascending=False, kind="stable")
    sure = sure.loc[by_points.index]
    both = _in_both(sure)
    return pd.concat([sure[~both], sure[both]])


def _in_both(loads: pd.DataFrame) -> pd.Series:
    return (loads["first"] > 0) & (loads.second > 0)


def _preview(ordered: pd.DataFrame) -> pd.DataFrame:
    both = _in_both(ordered)
    rows = pd.concat([ordered[~both].head(SHOWN), ordered[both].head(SHOWN)])
    ratio = rows.second / rows["first"].where(rows["first"] > 0)
    return pd.DataFrame(
        {
            "layer_id": rows.layer_id,
            "expert_id": rows.expert_id,
            "first (%)": 100 * rows["first"],
            "second (%)": 100 * rows.second,
            "change (points)": 100 * (rows.second - rows["first"]),
            "second / first": ratio,
            "low": np.exp2(rows.low),
            "high": np.exp2(rows.high),
            "q": rows.q,
            "note": rows.note,
        }
    )


def _loads_answer(loads: pd.DataFrame, names: LayerNames) -> str:
    tested, ordered = int(loads.q.notna().sum()), _ordered(loads)
    if not tested:
        return "There are too few independent texts to say which loads changed."
    if ordered.empty:
        return (
            f"Of {tested:,} experts, none has a load that changed by more than another sample of "
            "texts could change it."
        )
    ended, both = ended_in_words(loads), ordered[_in_both(ordered)]
    verb = "has" if len(ordered) == 1 else "have"
    said = f"{len(ordered):,} of {tested:,} experts {verb} a different load (q < {MAX_Q})."
    if ended:
        said = f"{ended[:1].upper()}{ended[1:]}. {said}"
    if both.empty:
        return said
    top = both.iloc[0]
    span = times_span(2**top.low, 2**top.high)
    of = "of those chosen in both, the largest change" if ended else "the largest change"
    return (
        f"{said[:-1]}; {of} is that of expert {top.expert_id} in {names[int(top.layer_id)]}, from "
        f"{percent(top['first'])} to {percent(top.second)} of the layer's choices: "
        f"{times(2**top.estimate)}{f' ({span})' if span else ''}."
    )


def lifts(
    first: Trace, found: Compared, palette: Palette, *, layer_id: int, only_sure: bool = False
) -> list[Panel]:
    """None where the two share no experts or no domains."""
    experts = first.info.layers[layer_id].num_experts
    if found.lifts is None or found.loads is None:
        return []
    rows = found.lifts[found.lifts.layer_id == layer_id].reset_index(drop=True)
    domains = [name for name in found.domains if name in set(rows.domain)]
    return [
        Panel(
            name="lift_differences",
            table=found.lifts,
            answer=_lifts_answer(found.lifts, found.loads),
            figure=figures.lift_difference_heatmap(
                rows,
                found.loads[found.loads.layer_id == layer_id],
                palette,
                domains=domains,
                experts=experts,
                only_sure=only_sure,
            ),
            alt="Heatmap: lift of every expert and domain in the second over that in the first",
            note="Colour: lift in the second over lift in the first; q is over all layers. "
            f"{_marks(crowded(len(domains), experts))}",
        )
    ]


def _lifts_answer(lifts: pd.DataFrame, loads: pd.DataFrame) -> str:
    tested, sure = int(lifts.q.notna().sum()), int((lifts.q < MAX_Q).sum())
    if not tested:
        return "There are too few independent texts to say which preferences changed."
    said = (
        f"Of {tested:,} preferences for a domain, over all layers, {sure:,} changed (q < {MAX_Q})."
    )
    ended = int(((loads["first"] > 0) != (loads.second > 0)).sum())
    if ended:
        has = "has" if ended == 1 else "have"
        of = counted(ended, "expert is", "experts are")
        said += f" {of} chosen in only one of the two and {has} no preference to compare."
    return said
