"""Which half of a trace chooses, and which texts judge."""

import numpy as np
import pandas as pd

from app.studies import ablation, claims

DOMAINS = ["math", "code"]


def trace(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """80 texts of 40 groups; expert 0 has a lift of 1.7 in math."""
    frame = pd.DataFrame({"doc_id": range(80), "domain": np.repeat(DOMAINS, 40), "tokens": 50})
    frame["unit"] = frame.doc_id // 2 * 2
    share_GE = np.array([[0.6, 0.2, 0.2], [0.1, 0.45, 0.45]])
    choices = [rng.multinomial(50, share_GE[DOMAINS.index(of)]) for of in frame.domain]
    return frame, np.array(choices)[:, None]


def test_one_half_chooses_and_only_the_other_judges() -> None:
    frame, choices_DLE = trace(np.random.default_rng(0))
    of = claims.halves_of(frame, choices_DLE, domains=DOMAINS)
    assert of.judges.groupby("domain").unit.nunique().to_dict() == {"math": 10, "code": 10}
    assert (of.judges.groupby("unit").size() == 2).all()  # groups stay whole
    assert set(of.lifts.n_groups) == {10}
    assert of.claims() == [(0, 0, "math")]
    again = claims.halves_of(frame, choices_DLE, domains=DOMAINS)
    pd.testing.assert_frame_equal(of.judges, again.judges)


def test_what_judges_does_not_choose() -> None:
    frame, choices_DLE = trace(np.random.default_rng(0))
    of = claims.halves_of(frame, choices_DLE, domains=DOMAINS)
    changed_DLE = choices_DLE.copy()
    changed_DLE[of.judges.doc_id] = [[50, 0, 0]]
    after = claims.halves_of(frame, changed_DLE, domains=DOMAINS)
    pd.testing.assert_frame_equal(of.lifts, after.lifts)


def test_texts_are_drawn_of_every_group_before_a_second_of_any() -> None:
    frame, choices_DLE = trace(np.random.default_rng(0))
    judges = claims.halves_of(frame, choices_DLE, domains=DOMAINS).judges
    few = claims.sampled(judges, tokens_per_domain=400, seed=0)
    assert few.groupby("domain").size().to_dict() == {"math": 8, "code": 8}
    assert few.unit.nunique() == 16
    more = claims.sampled(judges, tokens_per_domain=600, seed=0)
    assert more.groupby("domain").unit.nunique().to_dict() == {"math": 10, "code": 10}
    assert len(more) == 24
    assert few.doc_id.is_monotonic_increasing
    assert list(claims.sampled(judges, tokens_per_domain=400, seed=1).doc_id) != list(few.doc_id)


def test_losses_and_choices_are_added_up_over_groups() -> None:
    texts = ablation.Texts(
        np.arange(4), np.array([0, 0, 2, 3]), np.array(["a", "a", "a", "b"]), np.ones((4, 1, 2))
    )
    change_ED = np.array([[1.0, 2.0, 3.0, 4.0], [np.nan] * 4])
    layer = texts.changes(0, change_ED, np.array([10, 20, 30, 40]))
    assert layer.change_EN[0].tolist() == [3.0, 3.0, 4.0]
    assert np.isnan(layer.change_EN[1]).all()
    assert layer.choices_EN.tolist() == [[2, 1, 1]] * 2
    assert layer.tokens_N.tolist() == [30, 30, 40]
    assert layer.documents_N.tolist() == [2, 1, 1]
    assert layer.domain_N.tolist() == ["a", "a", "b"]


def test_an_expert_is_left_out_once_for_all_claims_of_its_layer() -> None:
    choices_DLE = np.full((4, 2, 30), 5)
    texts = ablation.Texts(np.arange(4), np.arange(4), np.array(["a", "a", "b", "b"]), choices_DLE)
    targets = [(0, 0, "a"), (0, 1, "a"), (0, 2, "b"), (1, 3, "a")]
    out = texts.to_leave_out(targets, targets, seed=0)
    assert {0, 1, 2} <= set(out[0])
    assert len(out[0]) <= 3 + 20 + 2  # one order of drawing: 20 controls, two of them claims of b
    assert len(out[1]) == 21
