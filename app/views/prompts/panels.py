"""One text of a trace, token by token: its tokens by layers, and the path of one token.

T = tokens, L = MoE layers.
"""

import pandas as pd

from analysis import queries
from app.trace import Trace
from app.views.load_balance import experts_per_token
from app.views.load_balance.experts_figures import add_k
from app.views.prompts import colour_by
from app.views.prompts.figures import by_weight, numbered, token_heatmap, token_path
from app.views.prompts.meaning import Meaning
from app.views.shared.layer_names import NUMBERED, LayerNames, names_of
from app.views.shared.panel import Panel
from app.views.shared.theme import EMPTY, Palette, unseen
from data.routing import NO_EXPERT

WINDOW = 48  # tokens in a heatmap: so many can be read
UNSEEN = f"{EMPTY}: a token without visible text, such as part of an emoji or Chinese character."


def panels(
    trace: Trace,
    palette: Palette,
    *,
    doc_id: int = 0,
    layer_id: int = 0,
    token: int = 0,
    by: str = "",
) -> list[Panel]:
    """Of one text, coloured by what its own trace knows; `token` is its place, `by` one of
    colour_by.CHOICES, if not the one that is suggested."""
    routing, names = text_routing(trace, doc_id), names_of(trace)
    colours = colour_by.meaning(
        by or colour_by.suggested(trace, layer_id),
        of_layer(routing, layer_id),
        palette,
        trace=trace,
        where=f"the trace {trace.name}",
        layer_id=layer_id,
    )
    return [
        strip(routing, colours, layer_id=layer_id, names=names),
        every_layer(routing, palette, colours, selected=token, layer_id=layer_id, names=names),
        path(routing, palette, colours, token=token, layer_id=layer_id, names=names),
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
    tokens = routing.drop_duplicates("position")
    return tokens.special.where(tokens.special.notna(), tokens.text).tolist()


def special_tokens(routing: pd.DataFrame) -> list[bool]:
    return routing.drop_duplicates("position").special.notna().tolist()


def of_layer(routing: pd.DataFrame, layer_id: int) -> pd.DataFrame:
    """The first choice of every token in one layer, NO_EXPERT where it made none."""
    first = first_choices(routing)
    return first[first.layer_id == layer_id]


def strip(
    routing: pd.DataFrame, colours: Meaning, *, layer_id: int, names: LayerNames = NUMBERED
) -> Panel:
    """What the tokens of the text look like in one layer; the page draws them."""
    here, layer = of_layer(routing, layer_id), names[layer_id]
    first = "with the largest weight" if here.weight.notna().any() else "that is named first"
    note = f"{colours.note} Small number: the expert {first} in {layer}."
    if routing.dropped.any():
        note += " Struck through: a choice was dropped because its expert was full."
    if any(special_tokens(here)):
        note += " Outlined: a special token, by its name."
    if any(map(unseen, token_texts(here))):
        note += f" {UNSEEN}"
    chosen = here.expert_id.where(here.expert_id != NO_EXPERT)
    return Panel(
        name="coloured_tokens",
        alt=f"Tokens of the text in {layer}, coloured by {colours.by}",
        answer=_answer(here, colours, layer=layer),
        note=note,
        table=here.assign(
            expert_id=chosen.astype("Int64"), coloured_by=colours.by, value=colours.values(here)
        ),
    )


def _answer(here: pd.DataFrame, colours: Meaning, *, layer: str) -> str:
    chosen = here.expert_id[here.expert_id != NO_EXPERT]
    if chosen.empty:
        return f"No token of this text chose an expert in {layer}."
    counts = chosen.value_counts()
    if len(counts) == 1:
        said = "choice of the one token falls"
        if len(chosen) > 1:
            said = f"choices of the {len(chosen):,} tokens all fall"
        return f"In {layer}, the first {said} on expert {counts.index[0]}. {colours.answer}".strip()
    text = (
        f"In {layer}, the first choices of the {len(chosen):,} tokens fall on "
        f"{len(counts)} experts; expert {counts.index[0]} has the most, {counts.iloc[0]}."
    )
    return f"{text} {colours.answer}".strip()


def chosen(routing: pd.DataFrame, *, layer_id: int) -> list[int]:
    """How many experts each token runs in the layer; empty where it does not vary."""
    k_TL = experts_per_token.of_text(routing)
    return [] if k_TL is None else k_TL[:, layer_id].tolist()


def choosing(routing: pd.DataFrame, expert_id: int | None, *, layer_id: int) -> list[bool]:
    """Which tokens chose an expert of the layer, as any of their choices."""
    made = routing[(routing.layer_id == layer_id) & ~routing.dropped]
    positions = made.position[made.expert_id == expert_id]
    return of_layer(routing, layer_id).position.isin(positions).tolist()


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
    colours: Meaning,
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
    values, coloraxis = by_weight(shown, palette)
    if colours.everywhere:
        values, coloraxis = colours.numbers(shown), colours.axis()
    figure = token_heatmap(
        shown,
        palette,
        tokens=tokens[begin:end],
        values=values,
        coloraxis=coloraxis,
        marked=selected - begin,
        names=names,
    )
    experts = "the numbers are expert ids" if numbered(shown) else "point at a cell for its expert"
    note = f"Tokens {begin} to {end - 1} of {len(tokens)}; {experts}."
    if not colours.everywhere:
        note += " Colour: the weight of that expert."
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


def positions(routing: pd.DataFrame) -> list[int]:
    """Of the tokens of a text, in order: of a text that was recorded in part they begin later."""
    return routing.position.drop_duplicates().sort_values().tolist()


def routes_of(routing: pd.DataFrame, token: int) -> pd.DataFrame:
    """The choices of the token at a place of the text."""
    return routing[routing.position == positions(routing)[token]]


def path(
    routing: pd.DataFrame,
    palette: Palette,
    colours: Meaning,
    *,
    token: int,
    layer_id: int,
    names: LayerNames = NUMBERED,
) -> Panel:
    routes = routes_of(routing, token)
    made = routes.expert_id != NO_EXPERT
    executed, dropped = routes[made & ~routes.dropped], routes[routes.dropped]
    note = "One row per layer: the experts this token chose, each as wide as its weight."
    if executed.weight.isna().any():
        note = "One row per layer: the experts this token chose. Their weights are unknown."
    if colours.ramp:
        note += f" Colour: {colours.by}, as above."
    elif colours.entries and not colours.everywhere:
        note += f" Coloured: those of {names[layer_id]}."
    return Panel(
        name="path",
        figure=token_path(executed, palette, colors=colours.colors(executed), names=names),
        alt=f"Bars: experts of token {token} by layer",
        note=note + _dropped_note(dropped, names),
        table=routes,
    )


def _dropped_note(dropped: pd.DataFrame, names: LayerNames) -> str:
    if dropped.empty:
        return ""
    choices = zip(dropped.layer_id.tolist(), dropped.expert_id, strict=True)
    experts = [f"expert {expert} in {names[layer_id]}" for layer_id, expert in choices]
    return f" Dropped because the expert was full: {', '.join(experts)}."
