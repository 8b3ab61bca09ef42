"""The two sides of a comparison: traces or parts of one, and which of their groups of texts are
compared with which.

N = groups, L = MoE layers.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection

from analysis import arrays, queries
from analysis.differences.differences import Sample, ratio_differences, with_q
from analysis.differences.strata import Amounts
from analysis.domain_names import order
from analysis.queries import TraceInfo
from data.labels import ALL
from data.routing import UNKNOWN

MOST_CELLS = 1 << 27  # of choices by group, layer and expert, read of each trace
SHARED = 0.5  # of the groups of both: with fewer in common, all groups are compared, unpaired
PER_TOKEN = ("loss", "entropy of the gate", "margin of the gate", "experts per token")


@dataclass(frozen=True, slots=True)
class Side:
    """A trace, or a part of one."""

    con: DuckDBPyConnection
    info: TraceInfo
    name: str
    file: str  # of which it is the whole or a part; parts have texts in common


@dataclass(frozen=True, slots=True)
class Sides:
    """The groups of both that are compared; if paired, in the same order."""

    sides: tuple[Side, Side]
    texts: tuple[pd.DataFrame, pd.DataFrame]  # documents()
    units: tuple[np.ndarray, np.ndarray]
    of_groups: tuple[int, int]
    num_common: int
    paired: bool
    domains: list[str]

    @classmethod
    def of(cls, first: Side, second: Side) -> "Sides":
        sides = (first, second)
        texts = [queries.documents(side.con).drop(columns="text") for side in sides]
        parts = first.file == second.file
        groups = [
            _units(side, of) if parts else _group_keys(side, of)
            for side, of in zip(sides, texts, strict=True)
        ]
        common = groups[0].index.intersection(groups[1].index)
        paired = len(common) > 0 and len(common) >= SHARED * max(map(len, groups))
        compared = [of.loc[common] for of in groups] if paired else groups
        most = min(MOST_CELLS // side.info.num_layers // side.info.num_experts for side in sides)
        kept = [of.sort_index().iloc[:most] for of in compared]
        labelled = sides[:1] if paired else sides  # texts that both have go by the first's labels
        domains = sorted({name for side in labelled for name in side.info.domains}, key=order)
        return cls(
            sides=sides,
            texts=(texts[0], texts[1]),
            units=(kept[0].to_numpy(), kept[1].to_numpy()),
            of_groups=(len(groups[0]), len(groups[1])),
            num_common=len(common),
            paired=paired,
            domains=domains,
        )

    def shared_domains(self) -> list[str]:
        if self.paired:
            return self.domains
        names = [set(side.info.domains) for side in self.sides]
        return [name for name in self.domains if name in names[0] & names[1]]

    def domain_ids(self, place: int) -> np.ndarray:
        """Of the groups [N]."""
        place = 0 if self.paired else place
        of = self.texts[place].set_index("doc_id").domain.loc[self.units[place]]
        return pd.Index(self.domains).get_indexer(pd.Index(of))

    def sample(self, place: int) -> Sample:
        side, texts, unit_N = self.sides[place], self.texts[place], self.units[place]
        some = texts[texts.unit.isin(unit_N)]
        tokens_NLE, units = arrays.unit_array(side.con, side.info, some)
        tokens_NLE = tokens_NLE[np.searchsorted(units, unit_N)]
        return Sample(tokens_NLE, self.domain_ids(place), side.info.layer_sizes)

    def like_tokens(self) -> bool:
        """Tokens are as long in both, as far as is known: those of one tokenizer, and those of the
        same texts if there are as many but for a start token."""
        names = {side.info.tokenizer for side in self.sides}
        if self.sides[0].file == self.sides[1].file or names <= {self.sides[0].info.tokenizer}:
            return True
        if not self.paired:
            return UNKNOWN in names
        read = [
            texts[texts.unit.isin(unit_N)]
            for texts, unit_N in zip(self.texts, self.units, strict=True)
        ]
        return bool(abs(read[0].tokens.sum() - read[1].tokens.sum()) <= len(read[0]))

    def per_token(self) -> pd.DataFrame:
        """A row a figure, layer (None: of all) and domain (ALL: of all), with first, second and
        their difference; of what both know."""
        rows = [
            frame.assign(figure=figure, domain=domain)
            for figure in PER_TOKEN
            for domain, frame in self._of_figure(figure)
        ]
        if not rows:
            return pd.DataFrame()
        frame = with_q(pd.concat(rows, ignore_index=True))
        leading = ["figure", "layer_id", "domain"]
        return frame[[*leading, *frame.columns.drop(leading)]]

    def _of_figure(self, figure: str) -> Iterator[tuple[str, pd.DataFrame]]:
        found = [self._amounts(place, figure) for place in range(2)]
        if any(of is None for of in found):
            return
        amounts = [(of[0], of[1], self.domain_ids(place)) for place, of in enumerate(found) if of]
        for domain in (ALL, *self.shared_domains()):
            of_domain = [
                np.ones(len(ids_N), bool) if domain == ALL else ids_N == self.domains.index(domain)
                for _, _, ids_N in amounts
            ]
            layers = [amount_NL.shape[1] for amount_NL, _, _ in amounts]
            compared = range(layers[0]) if layers[0] == layers[1] > 1 else ()
            for layer in (None, *compared):
                one, other = (
                    _summed_over(amount_NL[of_N], size_NL[of_N], ids_N[of_N], layer)
                    for (amount_NL, size_NL, ids_N), of_N in zip(amounts, of_domain, strict=True)
                )
                if one.size and other.size:
                    frame = ratio_differences(one, other, paired=self.paired)
                    yield domain, frame.assign(layer_id=pd.array([layer], "Int64"))

    def _amounts(self, place: int, figure: str) -> tuple[np.ndarray, np.ndarray] | None:
        """amount_NL and size_NL; None where the trace does not know it."""
        side = self.sides[place]
        if side.info.counts_only or (
            figure == "margin of the gate" and len({one.info.scoring for one in self.sides}) > 1
        ):  # of scores of different kinds, margins have no scale in common
            return None
        if figure == "loss":
            if not self.like_tokens():
                return None
            frame = queries.document_loss(side.con).assign(layer_id=0)
            names, layers = ("loss", "losses"), 1
        elif figure == "experts per token":
            frame = queries.document_k(side.con)
            names, layers = ("choices", "tokens"), side.info.num_layers
        else:
            frame = queries.document_gate(side.con)
            entropy = figure.startswith("entropy")
            names = ("entropy", "decisions") if entropy else ("margin", "margins")
            layers = side.info.num_layers
        unit = self.texts[place].set_index("doc_id").unit
        place_R = pd.Index(self.units[place]).get_indexer(pd.Index(unit.loc[frame.doc_id]))
        frame, place_R = frame[place_R >= 0], place_R[place_R >= 0]
        values = np.zeros((2, len(self.units[place]), layers))
        for of_NL, name in zip(values, names, strict=True):
            np.add.at(of_NL, (place_R, frame.layer_id), frame[name].to_numpy(float))
        return (values[0], values[1]) if values[1].any() else None


def _summed_over(
    amount_NL: np.ndarray, size_NL: np.ndarray, domain_id_N: np.ndarray, layer: int | None
) -> Amounts:
    of = slice(None) if layer is None else slice(layer, layer + 1)
    return Amounts(amount_NL[:, of].sum(-1, keepdims=True), size_NL[:, of].sum(-1), domain_id_N)


def _counted(side: Side, texts: pd.DataFrame) -> pd.DataFrame:
    """Texts with a token; of counts, no text says how many it has."""
    return texts if side.info.counts_only else texts[texts.tokens > 0]


def _units(side: Side, texts: pd.DataFrame) -> pd.Series:
    """Groups of a part of a trace, by their unit in the whole."""
    unit_N = np.unique(_counted(side, texts).unit)
    return pd.Series(unit_N, index=[_hash(str(unit)) for unit in unit_N.tolist()])


def _group_keys(side: Side, texts: pd.DataFrame) -> pd.Series:
    """Units of groups by what they are recognized by."""
    keys = queries.document_keys(side.con).set_index("doc_id")
    own = texts.assign(key=keys.prompt.fillna(keys.whole).loc[texts.doc_id].to_numpy())
    own["key"] = own.key.fillna(own.doc_id.map(lambda doc_id: f"{side.file} {doc_id}"))
    own = _counted(side, own)
    hashed = own.sort_values("key").groupby("unit").key.agg("\n".join).map(_hash)
    again = hashed.groupby(hashed).cumcount().astype(str)
    return pd.Series(hashed.index.to_numpy(), index=(hashed + again).to_numpy())


def _hash(text: str) -> str:
    """By which the same groups are the sample, in an order that means nothing."""
    return hashlib.sha256(text.encode()).hexdigest()
