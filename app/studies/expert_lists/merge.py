"""Which experts could be merged: pairs of a layer that the same words choose.

L = MoE layers, E = routed experts.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis import arrays, queries
from analysis.lists.merge_pairs import Alike, merge_pairs
from app.studies import redundancy
from app.studies.expert_lists.prune import kept
from app.studies.expert_lists.subject import (
    ExpertList,
    Settings,
    Subject,
    measured_table,
    written,
)
from data.exports.expert_groups import pair_table


def make(subject: Subject, settings: Settings, *, model: Path | None = None) -> ExpertList:
    """With the similarity of outputs where it was measured of that very `model`. ValueError: the
    trace names no words, or too few groups of texts chose."""
    _require_words(subject)
    keep = kept(subject, settings.keep)
    info, found = subject.info, []
    for layer_id, experts in enumerate(subject.experts_L.tolist()):
        choices = queries.token_id_choices(subject.con, layer_id, tokens=arrays.MAX_TOKENS)
        try:
            found.append(merge_pairs(choices, experts, count=experts - keep))
        except ValueError as error:
            raise ValueError(f"{info.layers[layer_id].name}: {error}") from error
    pairs = pd.concat(
        [_with_cost(subject, of, layer_id) for layer_id, of in enumerate(found)], ignore_index=True
    )
    value_LE = np.full((info.num_layers, info.num_experts), np.nan)
    listed_LE = np.zeros(value_LE.shape, dtype=bool)
    for layer_id, of in enumerate(found):
        known_EE = np.where(np.isnan(of.closeness_EE), -np.inf, of.closeness_EE)
        closest_E = known_EE.max(-1)
        value_LE[layer_id, : len(closest_E)] = np.where(np.isinf(closest_E), np.nan, closest_E)
        listed_LE[layer_id, of.pairs[["expert_a", "expert_b"]].to_numpy().ravel()] = True
    rows = {
        str(layer_id): {
            "estimate": of.held_out,
            "low": np.nan,
            "high": np.nan,
            "chance": 0.0,
            "bound": of.bound,
            "agreement": of.agreement,
            "agreement_chance": of.chance,
        }
        for layer_id, of in enumerate(found)
    }
    measured = measured_table(rows, dict.fromkeys(rows, len(subject.domain_id_N)))
    files, unwritten = written(subject, lambda layers: {"pairs": pair_table(layers, pairs)})
    pairs, said = _with_outputs(pairs, info.model_sha256, model)
    return ExpertList(
        settings=settings,
        answer=_answer(pairs, measured, int((subject.experts_L - keep).sum())),
        experts=pairs,
        value_LE=value_LE,
        listed_LE=listed_LE,
        measured=measured,
        notes=(*said, *subject.too_few()),
        files=files,
        unwritten=unwritten,
    )


def _require_words(subject: Subject) -> None:
    if subject.info.counts_only:
        raise ValueError(
            "the trace counts choices and names no token, so no experts can be said to be chosen "
            "by the same words; the list to prune takes counts"
        )
    if queries.token_ids(subject.con).empty:
        raise ValueError(
            "the trace does not name the ids of its tokens, so no experts can be said to be chosen "
            "by the same words; --list prune does without them"
        )


def _with_cost(subject: Subject, of: Alike, layer_id: int) -> pd.DataFrame:
    """together: of the tokens that chose either, the share that chose both, which would run one
    expert fewer."""
    experts = int(subject.experts_L[layer_id])
    frame = queries.coactivation(subject.con, layer_id)
    both_EE = arrays.pair_array(frame, experts)
    tokens_E = subject.tokens_NLE[:, layer_id, :experts].sum(0, dtype=np.int64)
    a, b = of.pairs.expert_a.to_numpy(int), of.pairs.expert_b.to_numpy(int)
    both = both_EE[a, b]
    pairs = of.pairs.assign(together=both / np.maximum(tokens_E[a] + tokens_E[b] - both, 1))
    pairs.insert(0, "layer_id", layer_id)
    return pairs.sort_values(["sure", "closeness"], ascending=False, kind="stable")


def _with_outputs(
    pairs: pd.DataFrame, sha256: str, model: Path | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """And the cosine of the two experts' outputs, where page Redundancy has measured it."""
    known = redundancy.stored(model) if model is not None else None
    if known is None or known.model_sha256 != sha256 or pairs.empty:
        return pairs, ()
    layer_id, a, b = (pairs[name].to_numpy() for name in ("layer_id", "expert_a", "expert_b"))
    pairs = pairs.assign(outputs=known.outputs[layer_id, a, b])
    return pairs, (
        f"The outputs of the two experts of a pair have a cosine of {pairs.outputs.mean():.3f} on "
        f"average, those of unrelated experts of {known.null_outputs.mean():.3f} (page "
        "Redundancy): experts that share words need not compute the same.",
    )


def _answer(pairs: pd.DataFrame, measured: pd.DataFrame, wanted: int) -> str:
    if pairs.empty:
        return (
            "No two experts can be called alike: they were chosen too rarely, or all of them by "
            "the same words."
        )
    number = len(pairs)
    found = "1 pair of experts shares" if number == 1 else f"{number:,} pairs of experts share"
    asked = f" Asked for were {wanted:,}: no others can be called alike." * (number < wanted)
    held = measured[measured.estimate.notna() & measured.agreement.notna()]
    if held.empty:
        return (
            f"{found} words.{asked} The halves of the texts are too small to say whether other "
            "texts would find them."
        )
    sure = int((pairs.sure >= 0.8).sum())
    return (
        f"{found} words: in texts that did not choose the pairs they are "
        f"{held.estimate.mean():.2f} of the way from two experts on average (0) to an expert and "
        f"itself (1); pairs of these texts' own choosing {held.bound.mean():.2f}. On at least "
        "eight of ten lists made of half "
        f"the texts: {sure:,} of them; two such lists have {held.agreement.mean():.0%} of their "
        f"pairs in common, random ones {held.agreement_chance.mean():.1%}.{asked}"
    )
