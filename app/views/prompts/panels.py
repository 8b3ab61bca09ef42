"""One text of a trace, token by token: its tokens by layers, and the path of one token.

T = tokens, L = MoE layers.
"""

import numpy as np
import pandas as pd

from analysis import queries
from app.trace import Trace
from app.views.load_balance import experts_per_token
from app.views.load_balance.experts_figures import add_k
from app.views.prompts.figures import token_heatmap, token_path
from app.views.prompts.meaning import Meaning, meaning
from app.views.shared.layer_names import NUMBERED, LayerNames, names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette
from data.labels import NONE, TOO_LITTLE
from data.routing import NO_EXPERT

WINDOW = 48  # tokens in a heatmap: so many can be read


def panels(
    trace: Trace, palette: Palette, *, doc_id: int = 0, layer_id: int = 0, token: int = 0
) -> list[Panel]:
    """Of one text, coloured by what its own trace knows of domains; `token` is its place."""
    routing = text_routing(trace, doc_id)
    colors = meaning(trace, trace, palette)
    return [
        every_layer(
            routing, palette, colors, selected=token, layer_id=layer_id, names=names_of(trace)
        ),
        path(routing, palette, colors, token=token, names=names_of(trace)),
    ]


def text_routing(trace: Trace, doc_id: int) -> pd.DataFrame:
    """As queries.document_routing."""
    with trace.cursor() as con:
        return queries.document_routing(con, doc_id)


def first_choices(routing: pd.DataFrame) -> pd.DataFrame:
    """One row per token and layer: a dropped choice where all are."""
    return routing.drop_duplicates(["position", "layer_id"])


def token_texts(routing: pd.DataFrame) -> list[str]:
    """What a token adds to the text, or the name of a special one."""
    tokens = first_choices(routing).drop_duplicates("position")
    return tokens.special.where(tokens.special.notna(), tokens.text).tolist()


def special_tokens(routing: pd.DataFrame) -> list[bool]:
    return first_choices(routing).drop_duplicates("position").special.notna().tolist()


def of_layer(routing: pd.DataFrame, layer_id: int) -> pd.DataFrame:
    """The first choice of every token in one layer, NO_EXPERT where it made none."""
    first = first_choices(routing)
    return first[first.layer_id == layer_id]


def answer(here: pd.DataFrame, colors: Meaning, *, layer: str) -> str:
    """Of one layer's first choices."""
    here = here[here.expert_id != NO_EXPERT]
    if here.empty:
        return f"No token of this text chose an expert in {layer}."
    counts = here.expert_id.value_counts()
    text = (
        f"In {layer}, the first choices of the {len(here):,} tokens fall on "
        f"{len(counts)} experts; expert {counts.index[0]} has the most, {counts.iloc[0]}."
    )
    if colors.category_LE is None:
        return text
    names = pd.Series([colors.names[category] for category in colors.categories(here)])
    unnamed = [TOO_LITTLE, NONE]
    share = names.value_counts(normalize=True).drop(unnamed, errors="ignore")
    if share.empty:
        return text
    mostly = f"{share.index[0]} ({share.iloc[0]:.0%} of the tokens)"
    return f"{text} The domain that these experts prefer most often is {mostly}."


def drop_notes(routing: pd.DataFrame, *, layer_id: int) -> list[str]:
    """What each token lost to full experts in one layer; empty where nothing."""
    dropped = routing[(routing.layer_id == layer_id) & routing.dropped]
    lists = dropped.groupby("position").expert_id.agg(list)
    return [
        f"dropped, because full: expert {', '.join(map(str, lists[position]))}"
        if position in lists.index
        else ""
        for position in of_layer(routing, layer_id).position
    ]


def every_layer(
    routing: pd.DataFrame,
    palette: Palette,
    colors: Meaning,
    *,
    selected: int = 0,
    layer_id: int = 0,
    part: int = 1,
    names: LayerNames = NUMBERED,
) -> Panel:
    """`part` counts windows of WINDOW tokens from 1; bars above where k varies."""
    first, tokens = first_choices(routing), token_texts(routing)
    begin = (part - 1) * WINDOW
    end = min(begin + WINDOW, len(tokens))
    shown = first[first.position.rank(method="dense").between(begin + 1, begin + WINDOW)]
    categories_TL = None
    if colors.category_LE is not None:
        layers = shown.layer_id.nunique()
        categories_TL = np.array(colors.categories(shown), float).reshape(-1, layers)
    figure = token_heatmap(
        shown,
        palette,
        tokens=tokens[begin:end],
        categories_TL=categories_TL,
        colors=colors.colors,
        marked=selected - begin,
        names=names,
    )
    note = f"Tokens {begin} to {end - 1} of {len(tokens)}; the numbers are expert ids."
    k_TL = experts_per_token.of_text(routing)
    if k_TL is not None:
        add_k(
            figure,
            k_TL[begin:end],
            palette,
            tokens=tokens[begin:end],
            layer_id=layer_id,
            names=names,
        )
        note += (
            f" Bars: how many experts each token runs in {names[layer_id]}; line: mean over layers."
        )
    return Panel(
        name="tokens_by_layers",
        figure=figure,
        alt="Heatmap: strongest expert of each token in each layer",
        note=note,
        table=shown,
    )


def routes_of(routing: pd.DataFrame, token: int) -> pd.DataFrame:
    """The choices of the token at a place of the text."""
    positions = routing.position.drop_duplicates().sort_values()
    return routing[routing.position == positions.iloc[token]]


def path(
    routing: pd.DataFrame,
    palette: Palette,
    colors: Meaning,
    *,
    token: int,
    names: LayerNames = NUMBERED,
) -> Panel:
    routes = routes_of(routing, token)
    made = routes.expert_id != NO_EXPERT
    executed, dropped = routes[made & ~routes.dropped], routes[routes.dropped]
    shades = [colors.colors[category] for category in colors.categories(executed)]
    return Panel(
        name="path",
        figure=token_path(executed, palette, colors=shades, names=names),
        alt=f"Bars: experts of token {token} by layer",
        note="One row per layer: the experts this token chose, each as wide as its weight."
        + _dropped_note(dropped, names),
        table=routes,
    )


def _dropped_note(dropped: pd.DataFrame, names: LayerNames) -> str:
    if dropped.empty:
        return ""
    choices = zip(dropped.layer_id.tolist(), dropped.expert_id, strict=True)
    experts = [f"expert {expert} in {names[layer_id]}" for layer_id, expert in choices]
    return f" Dropped because the expert was full: {', '.join(experts)}."
