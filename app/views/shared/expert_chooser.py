"""The expert that a page is about."""

from functools import partial

import streamlit as st

from app.trace import Trace
from app.views.shared import selecting


def expert_of(trace: Trace, layer_id: int) -> int:
    """The one of this layer that is selected, or the first."""
    experts = range(trace.info.layers[layer_id].num_experts)
    selecting.show("expert", selected(layer_id) or 0)
    return int(
        st.selectbox(
            "Expert",
            experts,
            key="expert",
            width=140,
            on_change=selecting.on_change("expert", partial(select, layer_id)),
        )
    )


def selected(layer_id: int) -> int | None:
    """Of this layer; None: there is none."""
    own = [expert_id for layer, expert_id in selecting.current().experts if layer == layer_id]
    return own[0] if own else None


def select(layer_id: int, expert_id: int) -> None:
    """In a callback."""
    selecting.select(layers=(layer_id,), experts=((layer_id, expert_id),))
