"""Choices that found their expert full, on the page. Nothing where the model drops none.

L = MoE layers, E = routed experts.
"""

import numpy as np

from analysis import load, queries
from app.trace import Trace
from app.views.load_balance.figures import dropped_heatmap
from app.views.shared import controls


def show(
    trace: Trace,
    tokens_LE: np.ndarray,
    *,
    domain: str | None,
    order_LE: np.ndarray,
) -> None:
    with trace.cursor() as con:
        refused = queries.expert_dropped(con, domain=domain)
    dropped_LE = queries.load_array(refused, trace.info, counted="dropped")
    if not dropped_LE.any():
        return
    share_L = load.dropped_share(tokens_LE, dropped_LE)
    worst = int(share_L.argmax())
    share = dropped_LE.sum() / (tokens_LE.sum() + dropped_LE.sum())
    controls.answer(
        f"{share:.1%} of all choices were dropped because their expert was full, in layer {worst} "
        f"{share_L[worst]:.1%}. The loads above are of what was executed."
    )
    controls.chart(
        dropped_heatmap(tokens_LE, dropped_LE, controls.palette(), order_LE=order_LE),
        alt="Heatmap: share of the choices of every expert that it refused, being full",
        key="dropped",
    )
    controls.note("Of the choices of an expert, those that it refused. Same order as above.")
    controls.download(refused, name="dropped_choices", trace=trace.name)
