"""Two texts one above the other: their tokens in one layer, and flips in every layer.

C = columns, L = MoE layers.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.token_diff import GAP, MAX_TOKENS
from app.views.prompts.pair_figures import flip_heatmap, token_columns, tokens_alone
from app.views.prompts.panels import UNSEEN, WINDOW, token_texts
from app.views.prompts.token_pair import FIRST, SECOND, TokenPair
from app.views.shared.layer_names import NUMBERED, LayerNames
from app.views.shared.panel import Panel
from app.views.shared.theme import Palette, literal, shade, token_mark, unseen
from data.routing import NO_EXPERT

NAME = "pair_of_texts"
ELSEWHERE = (
    "Compare does that for many texts: capture the same ones through both models with "
    "`routescope capture`, and choose the two traces there. “Show” above leads to the experts of "
    "each run."
)


def note(pair: TokenPair, layer: str) -> str:
    """How to read markup()."""
    said = ["Above: the first run; below: the second."]
    if pair.comparable:
        said.append(
            f"Colour: how many of its experts in {layer} the token exchanges; underlined: it flips."
        )
    said += [
        f"Small number: the expert with the largest weight in {layer}.",
        "Dashed: a token that only one run has at this place.",
    ]
    if any(unseen(name) for text in pair.texts.values() for name in text.frame.name.drop(GAP)):
        said.append(UNSEEN)
    return " ".join(said)


def markup(pair: TokenPair, palette: Palette, *, layer_id: int, layer: str) -> str:
    strongest = [
        ["" if expert == NO_EXPERT else str(expert) for expert in pair.strongest(side)[:, layer_id]]
        for side in pair.texts
    ]
    chosen = [pair.experts(side)[:, layer_id] for side in pair.texts]
    titles = [f"{layer}: {_chosen(first, second)}" for first, second in zip(*chosen, strict=True)]
    return token_columns(
        list(zip(pair.names(FIRST), pair.names(SECOND), strict=True)),
        palette,
        same_C=pair.columns.same.to_numpy(),
        share_C=pair.shares()[:, layer_id],
        strongest=list(zip(*strongest, strict=True)),
        titles=titles,
    )


def legend(palette: Palette) -> dict[str, str]:
    """Colours of markup()."""
    parts = {"no expert exchanged": 0.0, "half of them": 0.5, "all": 1.0}
    return {name: shade(palette.sequential, part) for name, part in parts.items()}


def every_layer(
    pair: TokenPair, palette: Palette, *, part: int = 1, names: LayerNames = NUMBERED
) -> Panel:
    """`part` counts windows of WINDOW columns from 1."""
    begin = (part - 1) * WINDOW
    shown = slice(begin, begin + WINDOW)
    both = list(zip(pair.names(FIRST)[shown], pair.names(SECOND)[shown], strict=True))
    figure = flip_heatmap(
        pair.shares()[shown].T,
        palette,
        layers=_layers_with_rates(pair, names),
        tokens=both,
        same_C=pair.columns.same.to_numpy()[shown],
        hover_LC=_hover(pair, both, shown, names),
    )
    note = (
        f"Columns {begin + 1} to {begin + len(both)} of {len(pair.columns)}. Colour: the share of "
        "its experts that a token exchanges; hatched: tokens that only one run has there. Beside "
        "each layer: how many of all tokens that both runs have flip in it"
    )
    if not np.isnan(pair.flips.unrelated):
        ends = np.nanmin(pair.flips.unrelated_L), np.nanmax(pair.flips.unrelated_L)
        rates = dict.fromkeys(f"{rate:.0%}" for rate in ends)
        note += f"; of two different tokens {' to '.join(rates)} do"
    return Panel(
        name=NAME,
        figure=figure,
        alt="Heatmap: share of its choices that each token exchanges in each layer",
        note=f"{note}.",
        table=pair.table,
    )


def _layers_with_rates(pair: TokenPair, names: LayerNames) -> list[str]:
    compared_L, flips_L = pair.flips.compared_PL.sum(0), pair.flips.flipped_PL.sum(0)
    return [
        f"{label} · {flips / compared:.0%}" if compared else label
        for label, flips, compared in zip(
            names.labels(len(flips_L)), flips_L.tolist(), compared_L.tolist(), strict=True
        )
    ]


def _hover(
    pair: TokenPair, both: Sequence[tuple[str, str]], shown: slice, names: LayerNames
) -> np.ndarray:
    first_CL, second_CL = (pair.experts(side)[shown] for side in pair.texts)
    return np.array(
        [
            [
                f"<b>{_tokens(first, second)}</b><br>{names.hover(layer_id)}: "
                + _chosen(first_CL[place, layer_id], second_CL[place, layer_id])
                for place, (first, second) in enumerate(both)
            ]
            for layer_id in range(first_CL.shape[1])
        ]
    )


def _tokens(first: str, second: str) -> str:
    """Of a column, the upper one first."""
    marks = [literal(token_mark(token)) for token in dict.fromkeys((first, second)) if token]
    return " above, ".join(marks) + (" below" if len(marks) > 1 else "")


def context(pair: TokenPair) -> str:
    """What flips may come from, and how far they can be trusted."""
    flipped_P, alike = pair.flips.somewhere(), pair.alike
    said = []
    if alike == len(pair.columns):
        said.append("Both runs have the same tokens.")
    elif alike:
        text = (
            f"Flips in at least one layer: {_sum(flipped_P[:alike])} of the {_count(alike)} with "
        )
        text += "which both begin"
        if after := len(flipped_P) - alike:
            text += f", {_sum(flipped_P[alike:])} of the {after:,} after the first difference"
        said.append(f"{text}.")
    if not pair.one_model:
        said.append("Tokens of two models are the same where their texts are.")
    said += [
        f"Of the {side} run only the first {MAX_TOKENS:,} tokens are compared."
        for side, text in pair.texts.items()
        if text.is_cut
    ]
    if pair.comparable:
        said.append("One pair of runs has no interval; Compare has intervals over many texts.")
    return " ".join(said)


def answer(pair: TokenPair, *, layer_id: int, layer: str, all_read: bool = True) -> str:
    """`all_read`: by the models; of what they did, `pair` may leave out more."""
    flips = pair.flips
    compared_P, flipped_P = flips.compared_PL[:, layer_id], flips.flipped_PL[:, layer_id]
    if not pair.comparable:
        return "The two runs have no token in common, so there are no choices to compare."
    if not compared_P.any():
        return f"No token that both runs have chose an expert in {layer}."
    anywhere_P = flips.compared_PL.any(-1)
    whole = all_read and not any(text.is_cut for text in pair.texts.values())
    part = "" if whole else " in the parts that are compared"
    text = (
        f"In {layer} the two runs choose different experts for {_share(flipped_P[compared_P])} "
        f"of the {_count(int(compared_P.sum()))} that both have{part}; in at least one of "
        f"{_count(len(flips.unrelated_L), 'layer')} for "
        f"{_share(flips.somewhere()[anywhere_P])}. {_null(pair, layer_id=layer_id, layer=layer)}"
    )
    if not pair.one_model:
        text += (
            " Two models ran: experts of one number are the same only where one model was made "
            "from the other."
        )
    return text


def _null(pair: TokenPair, *, layer_id: int, layer: str) -> str:
    """How often tokens flip that have nothing in common."""
    rates = {layer: pair.flips.unrelated_L[layer_id], "at least one layer": pair.flips.unrelated}
    said = [
        f"{rate:.0%} of the time in {where}" for where, rate in rates.items() if not np.isnan(rate)
    ]
    if not said:
        return "There is no different token to compare with."
    return f"For comparison: two different tokens choose different experts {' and '.join(said)}."


def tokens(routing: pd.DataFrame) -> str:
    """Of one run, as markup."""
    return tokens_alone(token_texts(routing)[:MAX_TOKENS])


def tokens_said(routing: pd.DataFrame) -> str:
    """What tokens() shows."""
    names = token_texts(routing)
    text = f"{_count(len(names))}."
    if len(names) > MAX_TOKENS:
        text += f" Shown are the first {MAX_TOKENS:,}."
    return f"{text} {UNSEEN}" if any(map(unseen, names[:MAX_TOKENS])) else text


def _chosen(first: str, second: str) -> str:
    """Two sets of experts, in words."""
    return f"experts {first or 'none'} above, {second or 'none'} below"


def _count(number: int, what: str = "token") -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _share(flipped_P: np.ndarray) -> str:
    return f"{_sum(flipped_P)} ({flipped_P.mean():.0%})"


def _sum(flipped_P: np.ndarray) -> str:
    return f"{int(flipped_P.sum()):,}"
