"""Do all experts carry their share?"""

import numpy as np
import pandas as pd
import streamlit as st

from analysis import load, queries
from app import controls, workspace
from app.figures.load import load_heatmap, load_order

ALL = "all domains"

trace, info = controls.page("Do all experts carry their share?")
with st.container(horizontal=True, gap="large"):
    by_load = controls.choice("Experts in order of", ["number", "load"], key="sort") == "load"
    domain = st.selectbox(
        "Texts", [ALL, *info.domains], key="domain", bind="query-params", width=200
    )
with workspace.cursor(trace) as con:
    frame = queries.expert_tokens(con, domain=None if domain == ALL else domain)
    tokens_LEG = queries.domain_array(queries.expert_domain_tokens(con), info)
tokens_LE = queries.load_array(frame, info)
order_LE = load_order(tokens_LE, by_load=by_load)
table = load.load_table(tokens_LE)


def choices(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(columns={"tokens": "choices"})


def sentence() -> str:
    worst, best = int(table.max_violation.argmax()), int(table.max_violation.argmin())
    dead = int(table.dead_experts.sum())
    dead_text = "no expert is dead" if not dead else f"{dead} of {tokens_LE.size} experts are dead"
    return (
        f"Layer {worst} is the least even: its busiest expert carries "
        f"{table.load_imbalance[worst]:.1f}× the balanced load, in layer {best} it is "
        f"{table.load_imbalance[best]:.1f}×. Over all layers {dead_text}."
    )


controls.headline(
    [
        ("Busiest expert", f"{table.load_imbalance.max():.2f}×", "balanced 1×"),
        ("Mean MaxVio", f"{table.max_violation.mean():.2f}", "balanced 0"),
        ("Mean Gini", f"{table.gini.mean():.2f}", "balanced 0, one takes all 1"),
        (
            "Three busiest carry",
            f"{table.busiest_share.mean():.1%}",
            f"balanced {3 / info.num_experts:.1%}, article 51%",
        ),
        ("Dead experts", f"{table.dead_experts.sum()}", f"of {tokens_LE.size}"),
    ]
)
controls.answer(sentence())
controls.show(
    load_heatmap(tokens_LE, controls.palette(), order_LE=order_LE, by_load=by_load),
    alt="Heatmap: load of every expert of every layer relative to a balanced layer",
    key="load",
    on_select="rerun",
)
if cell := controls.clicked("load"):
    target = {"layer": str(cell[0]), "expert": str(order_LE[cell])}
    st.switch_page("views/specialization.py", query_params=target)
controls.note(
    f"{tokens_LE[0].sum():,} choices a layer. Orange: above the balanced load, blue: below, "
    "cross: dead. Click a cell to open the expert's card."
)
st.markdown("**Layer by layer**")
controls.table(choices(table), name="load_by_layer", trace=trace.name)
with st.expander("Every layer and domain", icon=":material/layers:"):
    by_domain = load.domain_load_table(tokens_LEG, info.domains)
    controls.table(choices(by_domain), name="load_by_layer_and_domain", trace=trace.name)
cells = pd.DataFrame(frame).assign(
    relative=frame.tokens / np.repeat(tokens_LE.mean(-1), info.num_experts)
)
controls.download(cells, name="expert_load", trace=trace.name)
controls.method("load_imbalance", "max_violation", "gini", "busiest_share", "dead_experts")
