"""Two traces of the same texts: what is compared under which names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.matching.experts import UNMATCHED, LayerMatch
from app.studies import matched as module
from app.studies.matched import MatchedTraces, matched_traces
from tests.matched import Text, drawn_texts, opened, write_texts


def study(
    folder: Path,
    texts: Sequence[Text],
    others: Sequence[Text],
    *,
    layers: tuple[int, int] = (2, 2),
    experts: tuple[int, int] = (8, 8),
) -> MatchedTraces:
    paths = folder / "first.duckdb", folder / "second.duckdb"
    for path, of, some, count in zip(paths, (texts, others), layers, experts, strict=True):
        write_texts(path, of, layers=some, experts=count)
    return matched_traces(opened(paths[0]), opened(paths[1]))


def rate(found: MatchedTraces) -> float:
    rows = found.flips[(found.flips.by == "all") & (found.flips.figure == "flip_rate")]
    return float(rows.estimate.iloc[0])


def permuted(texts: Sequence[Text], name_LE: np.ndarray) -> list[Text]:
    layers = np.arange(len(name_LE))[None, :, None]
    return [replace(text, ids_TLK=name_LE[layers, np.array(text.ids_TLK)]) for text in texts]


def test_a_trace_against_itself_differs_nowhere(tmp_path: Path) -> None:
    texts = drawn_texts()
    found = study(tmp_path, texts, texts)
    assert (rate(found), found.differ["estimate"], found.renamed) == (0, 0, "")
    assert [match.matched for match in found.matches] == [8, 8]
    assert found.tokens.empty
    table = found.match_table()
    assert (table.expert_id == table.other_expert_id).all()
    assert (found.rounding, found.level > 0) == ("float32", True)


def test_experts_under_other_numbers_are_matched_first_and_judged_on_other_texts(
    tmp_path: Path,
) -> None:
    texts = drawn_texts()
    name_LE = np.stack([np.random.default_rng(layer).permutation(8) for layer in (1, 2)])
    found = study(tmp_path, texts, permuted(texts, name_LE))
    assert "matched experts have the same number in both" in found.renamed
    assert [match.other_E.tolist() for match in found.matches] == name_LE.tolist()
    assert rate(found) == 0
    assert found.differ["n"] == 24 * 60 / 2  # one half chooses, the other judges


def test_under_the_numbers_that_they_have_they_differ(tmp_path: Path) -> None:
    texts = drawn_texts()
    name_LE = np.array([[1, 0, 3, 2, 4, 5, 6, 7]] * 2)  # half of them keep their number
    found = study(tmp_path, texts, permuted(texts, name_LE))
    assert (rate(found) > 0.5, found.renamed) == (True, "")
    assert found.differ["n"] == 24 * 60


def test_models_of_other_shapes_are_compared_after_matching(tmp_path: Path) -> None:
    """The second has a layer more, the same choices in its first and last, and a dead expert."""
    texts = drawn_texts()
    deeper = [replace(text, ids_TLK=np.array(text.ids_TLK)[:, [0, 0, 1]]) for text in texts]
    found = study(tmp_path, texts, deeper, layers=(2, 3), experts=(8, 9))
    assert "has 2 MoE layers" in found.renamed
    assert (found.layer_L.tolist(), rate(found)) == ([0, 2], 0)
    assert UNMATCHED not in found.matches[0].other_E


def test_models_of_other_shapes_cannot_be_compared_by_too_few_texts(tmp_path: Path) -> None:
    texts = drawn_texts(texts=8)
    deeper = [replace(text, ids_TLK=np.array(text.ids_TLK)[:, [0, 0, 1]]) for text in texts]
    with pytest.raises(ValueError, match="cannot be matched: there are too few independent texts"):
        study(tmp_path, texts, deeper, layers=(2, 3))


def test_traces_that_never_chose_at_the_same_token_cannot_be_compared(tmp_path: Path) -> None:
    texts = drawn_texts()
    nothing = [replace(text, ids_TLK=np.full_like(text.ids_TLK, -1)) for text in texts]
    with pytest.raises(ValueError, match="no token of the texts that both have chose an expert"):
        study(tmp_path, texts, nothing)


def test_a_layer_in_which_nobody_is_matched_is_not_compared(tmp_path: Path) -> None:
    """In layer 0 all tokens choose both of the same experts: nothing tells who is who."""
    texts = drawn_texts()
    for text in texts:
        assert text.ids_TLK is not None
        text.ids_TLK[:, 0] = [0, 1]
    found = study(tmp_path, texts, texts, experts=(8, 9))
    assert found.renamed.endswith("; layer 0 is left out, in which none is matched")
    assert set(found.flips.layer_id.dropna()) == {1}
    assert (rate(found), found.differ["mean_layers"]) == (0, 0)


def test_unrelated_routers_differ_as_their_null_says(tmp_path: Path) -> None:
    found = study(tmp_path, drawn_texts(seed=0), drawn_texts(seed=9))
    null = found.flips[found.flips.by == "all"].unrelated.iloc[0]
    assert rate(found) == pytest.approx(1 - 1 / 28, abs=0.02)  # pairs of 8
    assert null == pytest.approx(rate(found), abs=0.02)
    assert set(found.tokens.domain) <= {"math", "code"}
    assert sum(match.matched for match in found.matches) <= 1


def test_one_expert_matched_in_one_layer_of_many_matches_nobody() -> None:
    """As chance does: one of three layers, and one of its experts."""
    other_E = np.array([UNMATCHED, 3, UNMATCHED])
    one = LayerMatch(
        similarity_EF=np.zeros((3, 4)), chance=0.1, other_E=other_E, partner_E=np.arange(3)
    )
    nobody = replace(one, other_E=np.full(3, UNMATCHED))
    with pytest.raises(ValueError, match="cannot be matched: none does what another does"):
        module._left_out([one, nobody, nobody], "layers differ")
    assert module._left_out([one, one, one], "layers differ") == ""
