"""Two texts of runs, their tokens one above the other, and what was chosen for them.

T = tokens of a text, C = columns, P = columns of tokens that are the same, L = MoE layers.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis import token_diff
from analysis.token_diff import GAP, MAX_TOKENS, PairFlips
from app.views.prompts import panels
from data.routing import NO_EXPERT

FIRST, SECOND = "first", "second"
KEYS = ["text", "special"]  # tell tokens apart; those of one model their ids do too


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Of a text; in the place GAP, the last one, there is none."""

    frame: pd.DataFrame  # position, name, special, by place
    experts_TL: np.ndarray  # ids in the order of ranks, as a text
    strongest_TL: np.ndarray  # or NO_EXPERT
    is_cut: bool  # the text has more than are compared


@dataclass(frozen=True, kw_only=True)
class TokenPair:
    texts: dict[str, Tokens]  # FIRST and SECOND
    columns: pd.DataFrame  # first, second (places in the texts, or GAP), same
    flips: PairFlips
    one_model: bool  # ran both

    def shares(self) -> np.ndarray:
        """Of its choices that each token exchanges [C, L]; NaN where nothing is compared."""
        share_CL = np.full((len(self.columns), self.flips.share_PL.shape[1]), np.nan)
        share_CL[self.columns.same] = self.flips.share_PL
        return share_CL

    @cached_property
    def table(self) -> pd.DataFrame:
        return pair_table(self)

    @property
    def comparable(self) -> bool:
        """They have a token in common."""
        return bool(self.columns.same.any())

    @property
    def alike(self) -> int:
        """Tokens that both texts begin with."""
        return int(self.columns.same.cummin().sum())

    def names(self, side: str) -> list[str]:
        """What stands in each column of one text; empty where it has a gap."""
        return self.texts[side].frame.name.loc[self.columns[side]].tolist()

    def experts(self, side: str) -> np.ndarray:
        """In each column and layer [C, L]."""
        return self.texts[side].experts_TL[self.columns[side]]

    def strongest(self, side: str) -> np.ndarray:
        """In each column and layer [C, L]; NO_EXPERT."""
        return self.texts[side].strongest_TL[self.columns[side]]


def token_pair(
    routing: pd.DataFrame, other: pd.DataFrame, experts_L: np.ndarray, *, one_model: bool
) -> TokenPair:
    """Of two texts as queries.document_routing gives them, of the same layers."""
    cut, other_cut = _beginning(routing), _beginning(other)
    tokens = [one.drop_duplicates("position") for one in (cut, other_cut)]
    keys = ["token_id", *KEYS] if one_model else KEYS
    codes = pd.concat(tokens).groupby(keys, dropna=False).ngroup().to_numpy()
    sizes = len(tokens[0]), len(tokens[1])
    row_P, other_row_P = token_diff.same_tokens(codes[: sizes[0]], codes[sizes[0] :])
    first, second = (token_diff.text_choices(one, len(experts_L)) for one in (cut, other_cut))
    return TokenPair(
        texts={
            side: _tokens(one, chosen.ids_PLK, is_cut=len(one) < len(whole))
            for side, one, chosen, whole in zip(
                (FIRST, SECOND), (cut, other_cut), (first, second), (routing, other), strict=True
            )
        },
        columns=token_diff.columns(row_P, other_row_P, sizes),
        flips=token_diff.pair_flips(
            first.of(row_P), second.of(other_row_P), experts_L, code_P=codes[row_P]
        ),
        one_model=one_model,
    )


def pair_table(pair: TokenPair) -> pd.DataFrame:
    """A row a column and layer: position_first, position_second, token_first, token_second, same,
    layers_flipped (how many), layer_id, flipped (empty: not compared), experts_first,
    experts_second."""
    share_CL = pair.shares()
    num_columns, num_layers = share_CL.shape
    same = pair.columns.same.reset_index(drop=True)
    columns = {
        f"{what}_{side}": pair.texts[side].frame[of].loc[pair.columns[side]].reset_index(drop=True)
        for what, of in (("position", "position"), ("token", "name"))
        for side in pair.texts
    }
    count = pd.Series((share_CL > 0).sum(-1), dtype="Int64").where(same)
    table = pd.DataFrame(columns | {"same": same, "layers_flipped": count})
    table = table.loc[table.index.repeat(num_layers)].reset_index(drop=True)
    flipped = pd.Series((share_CL > 0).ravel(), dtype="boolean")
    return table.assign(
        layer_id=np.tile(np.arange(num_layers), num_columns),
        flipped=flipped.where(~np.isnan(share_CL.ravel())),
        **{f"experts_{side}": pair.experts(side).ravel() for side in pair.texts},
    )


def _beginning(routing: pd.DataFrame) -> pd.DataFrame:
    positions = routing.position.drop_duplicates()
    return routing[routing.position.isin(positions.iloc[:MAX_TOKENS])]


def _tokens(routing: pd.DataFrame, ids_TLK: np.ndarray, *, is_cut: bool) -> Tokens:
    tokens = routing.drop_duplicates("position")
    frame = tokens[["position", "special"]].assign(name=panels.token_texts(routing))
    frame = frame.astype({"position": "Int64"}).reset_index(drop=True)
    frame = frame.reindex([*range(len(frame)), GAP])
    lists = [
        [" ".join(str(expert) for expert in ids if expert != NO_EXPERT) for ids in layers]
        for layers in [*ids_TLK.tolist(), [[]] * ids_TLK.shape[1]]
    ]
    strongest_TL = np.concatenate([ids_TLK[..., 0], np.full((1, ids_TLK.shape[1]), NO_EXPERT)])
    return Tokens(
        frame=frame.assign(name=frame.name.fillna("")),
        experts_TL=np.array(lists, object),
        strongest_TL=strongest_TL,
        is_cut=is_cut,
    )
