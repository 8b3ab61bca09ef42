"""Choices dropped because their expert was full. L = MoE layers, E = routed experts."""

from functools import partial

import numpy as np

from analysis import arrays, load, queries
from app.trace import Trace
from app.views.load_balance.figures import dropped_heatmap
from app.views.shared.layer_names import LayerNames, names_of
from app.views.shared.panel import Panel, of_experts
from app.views.shared.theme import Palette


def panels(
    trace: Trace,
    palette: Palette,
    tokens_LE: np.ndarray,
    *,
    order_LE: np.ndarray,
    domain: str | None = None,
) -> list[Panel]:
    """One, or none where nothing was dropped. `tokens_LE`: the choices that were executed."""
    with trace.cursor() as con:
        table = queries.expert_dropped(con, domain=domain)
    dropped_LE = arrays.load_array(table, trace.info, counted="dropped")
    if np.nansum(dropped_LE) == 0:
        return []
    names = names_of(trace)
    return [
        Panel(
            name="dropped_choices",
            table=table,
            answer=_answer(tokens_LE, dropped_LE, names),
            figure=dropped_heatmap(tokens_LE, dropped_LE, palette, order_LE=order_LE, names=names),
            alt="Heatmap: share of each expert's choices that were dropped because it was full",
            names=partial(of_experts, order_LE),
            note=(
                "Share of an expert's choices that were dropped because it was full. Same order "
                "as above."
            ),
        )
    ]


def _answer(tokens_LE: np.ndarray, dropped_LE: np.ndarray, names: LayerNames) -> str:
    share_L = load.dropped_share(tokens_LE, dropped_LE)
    worst = int(share_L.argmax())
    share = np.nansum(dropped_LE) / np.nansum(tokens_LE + dropped_LE)
    return (
        f"{share:.1%} of all choices were dropped because their expert was full "
        f"({share_L[worst]:.1%} in {names[worst]}). The loads above count only the choices that "
        "were executed."
    )
