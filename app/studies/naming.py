"""By which numbers experts of two traces are compared."""

import numpy as np

from analysis.matching.experts import UNMATCHED
from analysis.queries import TraceInfo
from app.studies.compared import Renaming
from app.studies.matched import MatchedTraces
from app.studies.sides import Side


def of_one_model(first: TraceInfo, second: TraceInfo) -> bool:
    """The traces say that the same weights made them."""
    return first.model_sha256 == second.model_sha256 != ""


def naming(
    first: Side, second: Side, matched: MatchedTraces | None, why: str
) -> tuple[Renaming | None, str]:
    """By which experts of the second go by the first's names, and a sentence about it: no renaming
    where they go by their own numbers, no sentence where the same weights made both. `why` nothing
    is matched."""
    shapes = [side.info.layer_sizes.tolist() for side in (first, second)]
    if first.file == second.file or (
        of_one_model(first.info, second.info) and shapes[0] == shapes[1]
    ):
        return None, ""
    if matched is not None and matched.renamed:
        said = (
            f"Experts of {second.name} are compared under the names of those of {first.name} that "
            f"the same tokens choose: {matched.renamed}. They were matched on these very texts, so "
            "their loads and lifts differ by more than is seen here."
        )
        return _renaming(matched), said
    if shapes[0] != shapes[1]:
        return None, ""
    if matched is None:
        return None, (
            "Experts are compared by their numbers, which are the same experts only if one model "
            f"made both traces; that cannot be checked, because {why.partition(';')[0]}."
        )
    found = sum(match.matched for match in matched.matches)
    if not found:
        return None, (
            "Experts are compared by their numbers, which mean nothing here: no expert of one is "
            "chosen for the tokens of one of the other more than chance allows."
        )
    return None, (
        f"Experts are compared by their numbers: most of the {found:,} that the same tokens choose "
        "have the same number in both."
    )


def _renaming(matched: MatchedTraces) -> Renaming:
    shape = len(matched.matches), max(len(match.other_E) for match in matched.matches)
    expert_LE = np.full(shape, UNMATCHED)
    for layer_id, match in enumerate(matched.matches):
        expert_LE[layer_id, : len(match.other_E)] = match.other_E
    return Renaming(matched.layer_L, expert_LE)
