"""One text of a trace, token by token: chips, tokens by layers, and the path of one token."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from analysis import queries, specialization
from app.trace import Trace
from app.views.load_balance import experts_per_token
from app.views.load_balance.experts_figures import add_k
from app.views.prompts import token_strip
from app.views.prompts.figures import token_heatmap, token_path
from app.views.shared import controls
from app.views.shared.theme import domain_colors, visible
from data.routing import PHASES

WINDOW = 48  # tokens in a heatmap: so many can be read


@dataclass(frozen=True)
class Meaning:
    """What the colour of an expert says: the domain that it belongs to in a reference trace."""

    names: list[str]
    colors: list[str]
    category_LE: np.ndarray | None
    note: str


def meaning(reference: Trace, shown: Trace) -> Meaning:
    """Colours from the trace in the sidebar, if it is of the same model and knows domains."""
    palette = controls.palette()
    if reference.info.model_sha256 == shown.info.model_sha256:
        with reference.cursor() as con:
            tokens_LEG = queries.domain_array(queries.expert_domain_tokens(con), reference.info)
        if np.count_nonzero(tokens_LEG.any((0, 1))) > 1:
            names = [*reference.domains, specialization.NONE]
            color_of = domain_colors(names, palette)
            category_LE = specialization.expert_domain(tokens_LEG) % len(names)
            note = f"Colour: the domain that the expert works for in the trace {reference.name}."
            return Meaning(names, [color_of[name] for name in names], category_LE, note)
    note = "No colour: the trace in the sidebar does not tell which domain an expert works for."
    return Meaning([], [palette.neutral], None, note)


def show(trace: Trace, doc_id: int, colors: Meaning) -> None:
    with trace.cursor() as con:
        routing = queries.document_routing(con, doc_id)
    first = routing.drop_duplicates(["position", "layer_id"])  # a dropped one where all are
    tokens = first.drop_duplicates("position").text.tolist()
    layer_id = controls.layer(trace.info.num_layers)
    here = first[first.layer_id == layer_id]
    k_TL = experts_per_token.of_text(routing)
    text, every_layer, path = st.container(), st.container(), st.container()
    with path:  # drawn first: its number is the token that the others mark
        selected = _path(routing, tokens, colors)
    with text:
        controls.answer(_sentence(here, layer_id, colors))
        token_strip.show(
            tokens,
            experts=here.expert_id.tolist(),
            chosen=[] if k_TL is None else k_TL[:, layer_id].tolist(),
            categories=_categories(here, colors),
            colors=colors.colors,
            notes=_refusals(routing[routing.layer_id == layer_id], here),
            selected=selected,
            on_click=_select,
        )
        if colors.names:
            controls.legend(colors.names)
        struck = " Struck through: a choice was dropped, its expert was full."
        controls.note(
            f"{colors.note} Small number: the strongest expert of layer {layer_id}."
            + (struck if routing.dropped.any() else "")
        )
    with every_layer:
        _heatmap(first, tokens, colors, selected, k_TL=k_TL, layer_id=layer_id)
    controls.download(routing, name=f"routing_of_text_{doc_id}", trace=trace.name)


def _select(token: int) -> None:
    st.session_state.token = token
    st.session_state.part = token // WINDOW + 1


def _sentence(here: pd.DataFrame, layer_id: int, colors: Meaning) -> str:
    counts = here.expert_id.value_counts()
    text = (
        f"In layer {layer_id} the {len(here):,} tokens go first to {len(counts)} experts; "
        f"expert {counts.index[0]} leads with {counts.iloc[0]} of them."
    )
    if colors.category_LE is None:
        return text
    names = [colors.names[category] for category in _categories(here, colors)]
    share = pd.Series(names).value_counts(normalize=True).drop(specialization.NONE, errors="ignore")
    if share.empty:
        return text
    return f"{text} Most often they work for {share.index[0]} ({share.iloc[0]:.0%} of the tokens)."


def _refusals(here: pd.DataFrame, first: pd.DataFrame) -> list[str]:
    """What each token was refused in one layer; empty where nothing."""
    refused = here[here.dropped].groupby("position").expert_id.agg(list)
    return [
        f"refused by {', '.join(str(expert) for expert in refused[position])}, full"
        if position in refused.index
        else ""
        for position in first.position
    ]


def _categories(rows: pd.DataFrame, colors: Meaning) -> list[int]:
    if colors.category_LE is None:
        return [0] * len(rows)
    return colors.category_LE[rows.layer_id, rows.expert_id].tolist()


def _heatmap(
    first: pd.DataFrame,
    tokens: list[str],
    colors: Meaning,
    selected: int,
    *,
    k_TL: np.ndarray | None,
    layer_id: int,
) -> None:
    st.subheader("Every layer", anchor=False)
    parts = -(-len(tokens) // WINDOW)
    part = 1
    if parts > 1:
        if st.session_state.get("part", 1) > parts:
            del st.session_state["part"]
        part = st.pagination(parts, default=selected // WINDOW + 1, key="part")
    begin = (part - 1) * WINDOW
    shown = first[first.position.rank(method="dense").between(begin + 1, begin + WINDOW)]
    num_layers = shown.layer_id.nunique()
    categories = None
    if colors.category_LE is not None:
        categories = np.array(_categories(shown, colors)).reshape(-1, num_layers)
    figure = token_heatmap(
        shown,
        controls.palette(),
        tokens=tokens[begin : begin + WINDOW],
        categories_TL=categories,
        colors=colors.colors,
        marked=selected - begin,
    )
    if k_TL is not None:
        window = slice(begin, begin + WINDOW)
        add_k(figure, k_TL[window], controls.palette(), tokens=tokens[window], layer_id=layer_id)

    def clicked() -> None:
        if cell := controls.clicked("tokens_by_layers"):
            st.session_state.token = begin + cell[1]

    alt = "Heatmap: strongest expert of each token in each layer"
    controls.chart(figure, alt=alt, key="tokens_by_layers", on_select=clicked)
    end = min(begin + WINDOW, len(tokens))
    bars = f" Bars: how many experts each runs in layer {layer_id}; line: mean over layers."
    controls.note(
        f"Tokens {begin} to {end - 1} of {len(tokens)}; numbers are experts."
        + ("" if k_TL is None else bars)
    )


def _path(routing: pd.DataFrame, tokens: list[str], colors: Meaning) -> int:
    """The token that is chosen, by its place in the text."""
    st.subheader("The path of one token", anchor=False)
    left, right = st.columns([1, 3], gap="large")
    if st.session_state.get("token", 0) >= len(tokens):  # chosen in a longer text
        st.session_state.token = 0
    token = left.number_input("Token", 0, len(tokens) - 1, key="token", bind="query-params", step=1)
    routes = routing[
        routing.position == routing.position.drop_duplicates().sort_values().iloc[token]
    ]
    with left:
        st.code(visible(tokens[token]), language=None)
        _figures(routes)
    refused = routes[routes.dropped]
    routes = routes[~routes.dropped]
    with right:
        category = [colors.colors[place] for place in _categories(routes, colors)]
        figure = token_path(routes, controls.palette(), colors=category)
        controls.chart(figure, alt=f"Bars: experts of token {token} by layer", key="path")
        controls.note("A row a layer: the experts this token chose, as wide as their weight.")
        if len(refused):
            full = [
                f"expert {row.expert_id} in layer {row.layer_id}" for row in refused.itertuples()
            ]
            controls.note(f"Dropped, because it was full: {', '.join(full)}.")
    return int(token)


def _figures(routes: pd.DataFrame) -> None:
    row = routes.iloc[0]
    loss = "not known" if pd.isna(row.loss) else f"{row.loss:.2f} nats"
    facts = [f"Loss: {loss}", f"Phase: {PHASES[row.phase]}"]
    if routes.entropy.notna().any():
        facts.append(f"Gate entropy: {routes.drop_duplicates('layer_id').entropy.mean():.2f} nats")
    controls.note(" · ".join(facts))
