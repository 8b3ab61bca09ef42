"""Two traces of the same texts: which experts correspond, how often a token is routed otherwise.

P = places that both have (analysis/matching/texts.py), L = MoE layers of the first trace.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection
from scipy import special

from analysis.groups import summed
from analysis.halves import judging_half
from analysis.matching.choices import Choices, first_choices_at, second_choices_at
from analysis.matching.experts import (
    ERROR,
    LayerMatch,
    corresponding_layers,
    enough_places,
    match_by_choices,
    match_table,
    renamed,
    text_sample,
)
from analysis.matching.flip_tables import Differing, flip_table, flips_by_margin, tokens_that_differ
from analysis.matching.flip_tokens import flipped_tokens, flips_by_string
from analysis.matching.flips import Flips, flips, require_same_shape, rounding_level, rounding_types
from analysis.matching.texts import MatchedTexts, matched_texts
from analysis.queries import TraceInfo
from data.routing import NO_EXPERT, PHASES
from data.words import counted

Opened = tuple[DuckDBPyConnection, TraceInfo]
OWN_NUMBERS = 0.5  # of the matched experts: if fewer keep their number, numbers mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedTraces:
    """All that two traces of the same texts tell about each other."""

    said: str  # what was matched, in a sentence
    by: str  # TOKENS or CHARACTERS: what is counted
    matches: tuple[LayerMatch, ...]  # of the layers of the first
    layer_L: np.ndarray  # of the second, that corresponds to each of the first
    renamed: str  # why the second's experts go by the first's names; empty: they do not
    flips: pd.DataFrame  # flip_table()
    margins: pd.DataFrame  # flips_by_margin()
    differ: Differing  # tokens_that_differ()
    tokens: pd.DataFrame  # flipped_tokens(), with domain and phase by name
    strings: pd.DataFrame  # flips_by_string()
    rounding: str  # the types of both; empty where one is not known
    level: float  # median rounding level of a margin; NaN: not known

    def match_table(self) -> pd.DataFrame:
        return match_table(self.matches, self.layer_L)


def matched_traces(first: Opened, second: Opened) -> MatchedTraces:
    """Experts are compared under the numbers that they have or, if these mean nothing, matched
    first on one half of the texts and compared on the other.

    ValueError: nothing is in both, or no expert is matched.
    """
    infos = first[1], second[1]
    matched = matched_texts(first, second)
    said = matched.in_words()
    chosen = first_choices_at(*first, matched), second_choices_at(*second, matched)
    layer_L = corresponding_layers(infos[0].num_layers, infos[1].num_layers)
    everywhere_P = np.ones(len(matched.row_P), dtype=bool)
    matches = _matches(matched, *chosen, infos, layer_L, everywhere_P)
    why = _why_renamed(infos, matches)
    if why:
        judges_P = _judging(matched)
        fitted = _matches(matched, *chosen, infos, layer_L, ~judges_P)
        why += _left_out(fitted, why)
        matched, judges = matched.at(judges_P), np.flatnonzero(judges_P)
        chosen = chosen[0].of(judges), _renamed(chosen[1].of(judges), fitted, infos, layer_L)
    found, level_PL = _flips(matched, *chosen, infos)
    if not found.compared_PL.any():
        raise ValueError("no token of the texts that both have chose an expert in both of them")
    group_P, domain_N = matched.groups()
    return MatchedTraces(
        said=said,
        by=matched.by,
        matches=tuple(matches),
        layer_L=layer_L,
        renamed=why,
        flips=flip_table(found, domain_N, infos[0].domains),
        margins=flips_by_margin(found, domain_N),
        differ=tokens_that_differ(found, group_P=group_P, domain_N=domain_N, size_P=matched.size_P),
        tokens=_named(flipped_tokens(found, matched, chosen[0]), infos[0]),
        strings=flips_by_string(found, matched, group_P=group_P, domain_N=domain_N),
        rounding=" and ".join(dict.fromkeys(rounding_types(*infos))),
        level=float(np.median(level_PL)),
    )


def _matches(
    matched: MatchedTexts,
    first: Choices,
    second: Choices,
    infos: tuple[TraceInfo, TraceInfo],
    layer_L: np.ndarray,
    allowed_P: np.ndarray,
) -> list[LayerMatch]:
    sizes = infos[0].layer_sizes, infos[1].layer_sizes
    shapes = [
        (int(sizes[0][layer_id]), int(sizes[1][other]))
        for layer_id, other in enumerate(layer_L.tolist())
    ]
    choices = first.ids_PLK.shape[-1], second.ids_PLK.shape[-1]
    sample = text_sample(matched.unit_P, allowed_P, most=enough_places(choices, shapes))
    group_P = np.unique(matched.unit_P[sample], return_inverse=True)[1]
    return [
        match_by_choices(
            first.ids_PLK[sample, layer_id],
            second.ids_PLK[sample, other],
            size_P=matched.size_P[sample],
            group_P=group_P,
            shape=shapes[layer_id],
        )
        for layer_id, other in enumerate(layer_L.tolist())
    ]


def _why_renamed(infos: tuple[TraceInfo, TraceInfo], matches: list[LayerMatch]) -> str:
    try:
        require_same_shape(*infos)
    except ValueError as error:
        return str(error).split(":")[0]
    own = sum(int((match.other_E == np.arange(len(match.other_E))).sum()) for match in matches)
    all_matched = sum(match.matched for match in matches)
    if all_matched and own < OWN_NUMBERS * all_matched:
        return f"{own:,} of {all_matched:,} matched experts have the same number in both"
    return ""


def _left_out(fitted: list[LayerMatch], why: str) -> str:
    """Of which layers nothing can be compared, in words."""
    none = [layer_id for layer_id, match in enumerate(fitted) if not match.matched]
    by_chance = special.bdtrc(len(fitted) - len(none) - 1, len(fitted), ERROR) > ERROR
    if by_chance and max(match.matched for match in fitted) <= 1:  # as few as chance matches
        known = any(not np.isnan(match.chance) for match in fitted)
        reason = "none does what another does" if known else "there are too few independent texts"
        raise ValueError(f"{why}, and experts cannot be matched: {reason}")
    if not none:
        return ""
    return (
        f"; {len(none)} of {counted(len(fitted), 'layer', 'layers')} are left out, in which none "
        "is matched"
        if len(none) > 1
        else f"; layer {none[0]} is left out, in which none is matched"
    )


def _judging(matched: MatchedTexts) -> np.ndarray:
    """Whether flips are counted at a place, and experts not matched."""
    group_P, domain_N = matched.groups()
    return judging_half(summed(matched.size_P, group_P), domain_N)[group_P]


def _renamed(
    second: Choices,
    fitted: list[LayerMatch],
    infos: tuple[TraceInfo, TraceInfo],
    layer_L: np.ndarray,
) -> Choices:
    """In the layers of the first, by the names of its experts; none in a layer in which none is
    matched."""
    ids_PLK = [
        renamed(second.ids_PLK[:, other], match, infos[0].num_experts)
        if match.matched
        else np.full_like(second.ids_PLK[:, other], NO_EXPERT)
        for other, match in zip(layer_L.tolist(), fitted, strict=True)
    ]
    return replace(
        second,
        ids_PLK=np.stack(ids_PLK, 1),
        weights_PLK=second.weights_PLK[:, layer_L],
        margin_PL=second.margin_PL[:, layer_L],
    )


def _flips(
    matched: MatchedTexts, first: Choices, second: Choices, infos: tuple[TraceInfo, TraceInfo]
) -> tuple[Flips, np.ndarray]:
    level_PL = rounding_level(first, *infos)
    found = flips(
        first,
        second,
        num_experts=infos[0].num_experts + infos[1].num_experts,
        level_PL=level_PL,
        group_P=matched.groups()[0],
        phase_P=matched.phases(),
        domain_P=matched.domain_P,
        size_P=matched.size_P,
    )
    return found, level_PL


def _named(tokens: pd.DataFrame, info: TraceInfo) -> pd.DataFrame:
    domains = [info.domains[domain_id] for domain_id in tokens.domain_id]
    phases = [PHASES[phase] for phase in tokens.phase]
    tokens = tokens.assign(domain_id=domains, phase=phases)
    return tokens.rename(columns={"domain_id": "domain"})
