"""Changes of loss small enough to divide in the head."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import causes
from analysis.causes import DOUBLE, Estimate, LayerChanges

GROUPS, TOKENS = 12, 10  # of a domain; of a group
DOMAIN_N = np.repeat(["math", "code"], GROUPS)
EXPERTS = 10
CLAIM = (0, 0, "math")


def layer(
    own: float, other: float, *, worth: float = 0.1, noise: float = 0.01, own_choices: int = 4
) -> LayerChanges:
    """Expert 0 costs `own` and `other` nats a token; every choice of the nine others costs `worth`
    nats, about. In math it has the choices of a control, in code a quarter of them."""
    rng = np.random.default_rng(0)
    choices_EN = np.full((EXPERTS, 2 * GROUPS), 4)
    choices_EN[0] = np.where(DOMAIN_N == "math", own_choices, 1)
    change_EN = worth * choices_EN * (1 + 0.05 * rng.standard_normal((EXPERTS, 1)))
    change_EN[0] = np.where(DOMAIN_N == "math", own, other) * TOKENS
    change_EN += noise * rng.standard_normal(change_EN.shape)
    tokens_N = np.full(2 * GROUPS, TOKENS)
    return LayerChanges(change_EN, choices_EN, tokens_N, np.full(2 * GROUPS, 2), DOMAIN_N)


def table(of: LayerChanges, *, claim: causes.Claim = CLAIM) -> pd.DataFrame:
    return causes.cause_table({0: of}, [claim], [claim])


def rows(of: LayerChanges) -> pd.DataFrame:
    whole = table(of)
    return whole[whole.claimed].set_index("group")


def test_changes_are_nats_a_token_and_nats_a_choice() -> None:
    of = rows(layer(0.12, 0.01, noise=1e-6))
    # controls: 0.1 nats a choice, times 4 choices of 10 tokens in math and 1 of 10 in code
    expected = [0.12, 0.01, 0.04, 0.01, 0.11, 0.08]
    assert of.estimate.tolist() == pytest.approx(expected, abs=0.002)
    assert of.per_choice.tolist() == pytest.approx([0.3, 0.1, 0.1, 0.1, 0.2, 0.2], abs=0.01)
    assert of.n_groups.tolist() == [12, 12, 12, 12, 24, 24]
    assert of.n_documents.tolist() == [24, 24, 24, 24, 48, 48]
    assert of.n_tokens.tolist() == [120, 120, 120, 120, 240, 240]
    assert of.n_choices.tolist() == [48, 12, 48, 12, 60, 60]
    assert set(of.n_controls) == {9}
    assert set(of.control_choices) == {1.0}


def test_what_is_only_used_more_in_its_domain_is_not_beyond_its_controls() -> None:
    """0.1 nats a choice everywhere: own - others is clear, the double difference is not."""
    of = rows(layer(0.04, 0.01))
    assert of.low["own - others"] > 0
    assert of.low[DOUBLE] < 0 < of.high[DOUBLE]
    assert not of.clear.any()


def test_what_costs_more_than_as_many_choices_of_others_is_clear_and_ranks_first() -> None:
    of = rows(layer(0.12, 0.01))
    assert of.clear.all()
    assert of.p[DOUBLE] == pytest.approx(1 / 10)  # of nine controls none is as large
    assert set(of.n_above) == {0}
    assert rows(layer(-0.12, -0.01)).p[DOUBLE] == 1.0
    assert not rows(layer(0.12, 0.13)).clear.any()  # hurts the others more


def test_controls_are_put_to_the_same_test_and_have_a_row_each() -> None:
    whole = table(layer(0.12, 0.01))
    controls = whole[~whole.claimed]
    assert sorted(controls.expert_id) == list(range(1, 10))
    assert set(controls.group) == {DOUBLE}
    assert not controls.clear.any()
    assert set(controls.n_controls) == {8}  # the specialist is none of theirs


def test_claims_of_the_domain_are_no_controls_and_others_are() -> None:
    of = layer(0.12, 0.01)
    claims = [CLAIM, (0, 1, "math"), (0, 2, "code"), (1, 3, "math")]
    given = causes.claim_controls(of.choices_EN, of.domain_N, CLAIM, claims)
    assert sorted(given) == [2, 3, 4, 5, 6, 7, 8, 9]
    among = causes.claim_controls(of.choices_EN, of.domain_N, CLAIM, claims, among=[1, 5, 7])
    assert sorted(among) == [5, 7]


def test_only_what_was_left_out_is_a_control() -> None:
    of = layer(0.12, 0.01)
    of.change_EN[3:] = np.nan
    whole = table(of)
    assert set(whole[whole.claimed].n_controls) == {2}
    assert whole.p[whole.group == DOUBLE].isna().all()  # too few to rank among


def test_few_groups_have_figures_but_no_interval_and_no_p() -> None:
    whole = layer(0.12, 0.01)
    keep_N = np.arange(2 * GROUPS) >= GROUPS - 4  # four groups of math
    of = rows(
        LayerChanges(
            whole.change_EN[:, keep_N],
            whole.choices_EN[:, keep_N],
            whole.tokens_N[keep_N],
            whole.documents_N[keep_N],
            DOMAIN_N[keep_N],
        )
    )
    assert of.estimate["own"] == pytest.approx(0.12, abs=0.001)
    assert of[["low", "high", "p", "clear"]].isna().all(axis=None)


def test_an_expert_that_others_never_choose_is_compared_in_its_own_domain() -> None:
    of = layer(0.12, 0.0)
    of.choices_EN[0, GROUPS:] = 0
    of.change_EN[0, GROUPS:] = 0.0
    found = rows(of)
    assert found.estimate[DOUBLE] == pytest.approx(0.08, abs=0.005)
    assert found.clear.all()
    assert found.per_choice[["others", DOUBLE]].isna().all()


def test_a_difference_is_as_free_as_its_smaller_sample() -> None:
    """6 groups of 200: the variance is that of the six."""
    own, others = Estimate(1.0, 0.0256, 5.0), Estimate(0.0, 0.0004, 193.0)
    difference = own - others
    assert difference.variance == pytest.approx(0.026)
    assert difference.freedom == pytest.approx(0.026**2 / (0.0256**2 / 5 + 0.0004**2 / 193))
    assert difference.p() == pytest.approx(2 * stats.t.sf(1 / np.sqrt(0.026), difference.freedom))
    assert difference.p() > 1e-3  # with 199 degrees of freedom 3.4e-9
    low, high = difference.interval()
    assert (low + high) / 2 == pytest.approx(1.0)
    assert high - low == pytest.approx(2 * np.sqrt(0.026) * stats.t.ppf(0.975, difference.freedom))


def test_p_is_below_5_percent_where_the_interval_leaves_0_out() -> None:
    edge = float(stats.t.ppf(0.975, 7))
    for value, excluded in ((edge * 1.01, True), (edge * 0.99, False)):
        of = Estimate(value, 1.0, 7.0)
        assert (of.p() < 0.05) == excluded
        assert (of.interval()[0] > 0) == excluded
    assert np.isnan(Estimate(1.0, 0.0, 7.0).p())  # all alike: nothing says how sure


def test_domain_changes_by_hand() -> None:
    table = causes.domain_changes(
        np.array([*np.tile([2.0, 4.0], 6), 3.0]),
        np.full(13, 10),
        np.array([*[2] * 12, 1]),
        np.array([0] * 12 + [1]),
        domains=["a", "b"],
    )
    assert table.estimate.tolist() == pytest.approx([0.3, 0.3])  # 36 / 120, 3 / 10
    assert table.low[0] < 0.3 < table.high[0]
    # deviations of 0.1 from the mean: a standard error of 0.1 / sqrt(11)
    assert table.high[0] - 0.3 == pytest.approx(0.1 / np.sqrt(11) * stats.t.ppf(0.975, 11), rel=0.1)
    assert table.low.isna().tolist() == [False, True]
    assert table.p.isna().tolist() == [False, True]
    assert table.n_groups.tolist() == [12, 1]
    assert table.n_documents.tolist() == [24, 1]
