import numpy as np
import pandas as pd
import pytest

from analysis.lists.merge_pairs import merge_pairs

WORDS = 40


def choices(*, groups: int = 12, one_law: bool = False) -> pd.DataFrame:
    """As token_id_choices() of six experts with words of their own, but experts 1 and 4, who share
    theirs; of `one_law` all do."""
    rng = np.random.default_rng(0)
    share_EV = rng.dirichlet(np.full(WORDS, 0.2), size=6)
    share_EV[4] = share_EV[1]
    if one_law:
        share_EV[:] = share_EV[0]
    rows = [
        {"unit": unit, "token_id": word, "expert_id": expert, "tokens": int(tokens)}
        for unit in range(groups)
        for expert in range(6)
        for word, tokens in enumerate(rng.multinomial(200, share_EV[expert]))
        if tokens
    ]
    return pd.DataFrame(rows)


def test_experts_of_the_same_words_are_a_pair_as_close_as_one_to_itself() -> None:
    found = merge_pairs(choices(), 6, count=1)
    assert found.pairs[["expert_a", "expert_b"]].to_numpy().tolist() == [[1, 4]]
    assert found.pairs.closeness[0] == pytest.approx(1, abs=0.02)
    assert found.pairs.sure[0] == 1
    assert (found.agreement, found.held_out) == (1.0, pytest.approx(1, abs=0.02))
    assert found.chance == pytest.approx(1 / 15)  # one of 6 x 5 / 2 pairs
    others_EE = found.closeness_EE.copy()
    others_EE[[1, 4]] = np.nan
    assert np.nanmax(others_EE) < 0.5
    assert found.closeness_EE == pytest.approx(found.closeness_EE.T, nan_ok=True)


def test_halves_that_are_too_small_say_nothing_of_pairs() -> None:
    """Of all groups every expert has 139 to 159 choices, and of half of them fewer than 100."""
    frame = choices()
    frame["tokens"] //= 10
    frame = frame[frame.tokens > 0]
    found = merge_pairs(frame, 6, count=1)
    assert frame.groupby("expert_id").tokens.sum().between(100, 160).all()
    assert found.pairs[["expert_a", "expert_b"]].to_numpy().tolist() == [[1, 4]]
    assert np.isnan([found.agreement, found.held_out, found.pairs.sure[0]]).all()


def test_lists_of_halves_that_cannot_know_a_pair_do_not_tell_against_it() -> None:
    """Experts 2 and 3 share two words, and half of the groups have fewer than 100 choices."""
    frame = choices()
    rare = [
        {"unit": unit, "token_id": word, "expert_id": expert, "tokens": 6}
        for unit in range(12)
        for word in (7, 8)
        for expert in (2, 3)
    ]
    frame = pd.concat([frame[~frame.expert_id.isin((2, 3))], pd.DataFrame(rare)])
    found = merge_pairs(frame, 6, count=2)
    assert found.pairs[["expert_a", "expert_b"]].to_numpy().tolist() == [[1, 4], [2, 3]]
    assert found.pairs.sure[0] == 1
    assert np.isnan(found.pairs.sure[1])


def test_where_all_experts_choose_alike_no_pair_is_closer_than_others() -> None:
    found = merge_pairs(choices(one_law=True), 6, count=1)
    assert found.pairs.empty
    assert np.isnan(found.held_out)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_texts_are_closer_by_as_many_pairs_of_their_own(count: int) -> None:
    """Expert 5 has 100 choices in some halves alone, whose lists are longer by a pair."""
    frame = choices()
    frame.loc[frame.expert_id == 5, "tokens"] //= 14
    found = merge_pairs(frame[frame.tokens > 0], 6, count=count)
    assert found.held_out <= found.bound + 1e-9


def test_no_expert_is_in_two_pairs_and_rare_ones_are_in_none() -> None:
    frame = choices()
    frame = frame[(frame.expert_id != 5) | (frame.unit == 0) & (frame.token_id < 3)]
    frame.loc[frame.expert_id == 5, "tokens"] = 1
    found = merge_pairs(frame, 6, count=3)
    members = found.pairs[["expert_a", "expert_b"]].to_numpy().ravel().tolist()
    assert len(members) == len(set(members)) == 4  # of the five that are known
    assert 5 not in members
    assert np.isnan(found.closeness_EE[5]).all()


def test_the_order_of_the_rows_changes_nothing() -> None:
    frame = choices()
    shuffled = frame.sample(frac=1, random_state=0)
    first, second = (merge_pairs(of, 6, count=2) for of in (frame, shuffled))
    assert first.pairs.equals(second.pairs)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 groups of texts.*the list to prune"):
        merge_pairs(choices(groups=3), 6, count=1)
