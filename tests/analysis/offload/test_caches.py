import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.offload.caches import (
    Outcome,
    Setting,
    Subject,
    divided,
    least_slots,
    simulate,
    usual_slots,
)
from analysis.offload.predictions import fit
from analysis.offload.requests import Requests
from analysis.offload.rules import FITTED, RULES
from tests.cache_requests import (
    belady,
    hits_of,
    least_stale,
    lfu,
    listed,
    lru,
    most_hits,
    requests_of,
)

REFERENCES = {"lru": lru, "lfu": lfu, "least_stale": least_stale, "belady": belady}
DEMAND = [name for name in RULES if not name.startswith("prefetch")]
FOUR = np.array([4])


def subject(requests: Requests, others: Requests | None = None) -> Subject:
    return Subject.of(requests, fit(requests if others is None else others))


def hits(requests: Requests, policy: str, slots: int, **kind: bool) -> int:
    return int(outcome(requests, policy, slots, **kind).hits_NL.sum())


def outcome(requests: Requests, policy: str, slots: int, **kind: bool) -> Outcome:
    setting = Setting(slots=slots, per_layer=kind.get("per_layer", False), cold=True)
    return simulate(subject(requests), policy, setting)


def one_layer(*experts: int) -> Requests:
    return requests_of(np.array(experts).reshape(-1, 1, 1), experts_L=FOUR)


@st.composite
def some_requests(draw: st.DrawFn) -> Requests:
    """Of 1 to 3 layers with 2 to 5 experts, 0 to 2 chosen, in up to 3 documents."""
    experts_L = np.array(draw(st.lists(st.integers(2, 5), min_size=1, max_size=3)))
    tokens = draw(st.integers(1, 14))
    rows = []
    for _ in range(tokens):
        row = []
        for size in experts_L:
            chosen = draw(st.lists(st.integers(0, size - 1), max_size=2, unique=True))
            row.append(chosen + [-1] * (2 - len(chosen)))
        rows.append(row)
    document_T = np.sort(draw(st.lists(st.integers(0, 2), min_size=tokens, max_size=tokens)))
    return requests_of(np.array(rows), document_T=document_T, experts_L=experts_L)


def test_lru_evicts_what_was_used_longest_ago() -> None:
    # 0 and 1 are loaded, 0 hits, 2 evicts 1, 1 evicts 0, 0 evicts 2
    assert hits(one_layer(0, 1, 0, 2, 1, 0), "lru", 2) == 1


def test_lfu_evicts_what_was_used_least_often_and_of_equals_the_first() -> None:
    # 0 hits once, so 2 evicts 1, and 3 evicts 2; 0 hits again
    assert hits(one_layer(0, 1, 0, 2, 3, 0), "lfu", 2) == 2
    # 0, 1 and 2 once each: 3 evicts 0, so 1 hits and 0 does not
    assert hits(one_layer(0, 1, 2, 3, 1, 0), "lfu", 3) == 1


def test_belady_evicts_what_is_asked_for_latest() -> None:
    # 2 evicts 1, which comes after 0: 0 hits twice; LRU would have evicted 0
    assert hits(one_layer(0, 1, 2, 0, 0, 1), "belady", 2) == 2


def test_least_stale_evicts_what_was_loaded_first_even_if_it_has_hit() -> None:
    # 0 hits, then 2 evicts it all the same: LRU evicts 1
    assert hits(one_layer(0, 1, 0, 2, 0), "least_stale", 2) == 1
    assert hits(one_layer(0, 1, 0, 2, 0), "lru", 2) == 2


def test_least_stale_keeps_what_the_present_token_has_used() -> None:
    """Two layers, two slots: the second token uses 0 again, so the new expert of layer 1 evicts
    what layer 1 used before, though 0 was loaded earlier."""
    ids_TLK = np.array([[[0], [0]], [[0], [1]], [[0], [1]]])
    requests = requests_of(ids_TLK, experts_L=np.array([2, 2]))
    assert hits(requests, "least_stale", 2) == 3  # first in, first out: 2


def test_fixed_experts_of_other_groups_stay() -> None:
    others = one_layer(0, 0, 0, 1)
    requests = one_layer(0, 1, 2, 3, 0, 1, 2, 3, 0)
    setting = Setting(slots=2, per_layer=False, cold=True)
    found = simulate(subject(requests, others), "fixed", setting)
    assert found.hits_NL.sum() == 2  # 0 stays, the others pass through the other slot
    assert hits(requests, "lru", 2) == 0


def test_all_experts_of_a_request_are_looked_up_before_one_is_loaded() -> None:
    """2 slots: the second token asks for 2 and 1. Loading 2 must not evict 1, which hits."""
    requests = requests_of(np.array([[[1, 0]], [[2, 1]]]), experts_L=FOUR)
    assert hits(requests, "lru", 2) == 1
    one_by_one = requests_of(np.array([[[1]], [[0]], [[2]], [[1]]]), experts_L=FOUR)
    assert hits(one_by_one, "lru", 2) == 0


def test_a_pool_too_small_for_a_token_hits_nothing_and_slots_by_layer_do() -> None:
    """Four layers that always ask for the same expert: one pool of three slots goes round in
    circles."""
    requests = requests_of(np.zeros((10, 4, 1), int), experts_L=np.array([2, 2, 2, 2]))
    assert hits(requests, "lru", 3) == 0
    assert hits(requests, "lru", 4, per_layer=True) == 36  # all but the first token's


def test_a_cold_cache_is_emptied_before_every_text() -> None:
    requests = requests_of(
        np.zeros((6, 1, 1), int), document_T=np.array([0, 0, 0, 1, 1, 1]), experts_L=FOUR
    )
    assert outcome(requests, "lru", 1).hits_NL.tolist() == [[2], [2]]


def test_a_warm_cache_is_filled_by_the_first_tenth_of_the_tokens() -> None:
    requests = requests_of(
        np.zeros((20, 1, 1), int), document_T=np.repeat([0, 1], 10), experts_L=FOUR
    )
    found = simulate(subject(requests), "lru", Setting(slots=1, per_layer=False, cold=False))
    assert found.tokens == 18
    assert found.asked_NL.tolist() == [[8], [10]]
    assert found.hits_NL.tolist() == [[8], [10]]


def test_what_the_layer_before_foretells_is_there_in_time() -> None:
    """Expert e of layer 0 is always followed by e of layer 1; two slots."""
    ids = np.tile([0, 1, 2, 3], 5)
    requests = requests_of(np.stack([ids, ids], 1)[..., None], experts_L=np.array([4, 4]))
    found = outcome(requests, "prefetch_transitions", 2)
    assert found.hits_NL.sum(0).tolist() == [0, 20]
    assert found.ahead_NL.sum(0).tolist() == [0, 20]
    assert hits(requests, "lru", 2) == 0


def test_what_the_previous_token_chose_is_loaded_again() -> None:
    """One slot, two layers: LRU has evicted it meanwhile."""
    requests = requests_of(np.zeros((5, 2, 1), int), experts_L=np.array([2, 2]))
    found = outcome(requests, "prefetch_previous_token", 2)
    assert found.hits_NL.sum() == 8
    assert found.ahead_NL.sum() == 0  # both fit
    tight = requests_of(np.zeros((5, 3, 1), int), experts_L=np.array([2, 2, 2]))
    found = outcome(tight, "prefetch_previous_token", 2)
    assert found.hits_NL.sum() == found.ahead_NL.sum() == 12


def test_what_is_in_use_is_not_evicted_for_what_is_predicted() -> None:
    """One slot, which the layer that is being computed takes."""
    requests = requests_of(np.zeros((5, 2, 1), int), experts_L=np.array([2, 2]))
    found = outcome(requests, "prefetch_previous_token", 1)
    assert found.hits_NL.sum() == found.ahead_NL.sum() == 0


@settings(deadline=None)
@given(some_requests(), st.integers(0, 12), st.booleans(), st.booleans())
def test_every_policy_agrees_with_plain_python(
    requests: Requests, more: int, per_layer: bool, cold: bool
) -> None:
    if not len(requests.expert_A):
        return
    slots = min(least_slots(requests, per_layer=per_layer) + more, requests.num_experts)
    capacities = dict(enumerate(divided(slots, requests.experts_L))) if per_layer else None
    layer_X = np.repeat(np.arange(len(requests.experts_L)), requests.experts_L)
    subject_ = subject(requests)
    for policy, rule in REFERENCES.items():
        expected = hits_of(
            requests,
            rule,
            slots=slots,
            pool=(lambda expert: int(layer_X[expert])) if per_layer else (lambda expert: 0),
            capacities=capacities,
            emptied=cold,
        )
        setting = Setting(slots=slots, per_layer=per_layer, cold=cold)
        found = simulate(subject_, policy, setting)
        first = 0 if cold else int(0.1 * requests.num_tokens)
        counted = [
            hits
            for hits, (token, _, _) in zip(expected, listed(requests), strict=True)
            if token >= first
        ]
        assert found.hits_NL.sum() == sum(counted), policy


@settings(deadline=None)
@given(some_requests(), st.integers(0, 4))
def test_no_policy_without_prefetching_surpasses_belady_and_none_is_possible(
    requests: Requests, more: int
) -> None:
    if not len(requests.expert_A):
        return
    slots = min(least_slots(requests, per_layer=False) + more, requests.num_experts)
    one_text = Requests(
        **{name: getattr(requests, name) for name in Requests.__slots__}
        | {"document_R": np.zeros_like(requests.document_R)}
    )
    found = {policy: hits(one_text, policy, slots) for policy in DEMAND}
    assert max(found.values()) == found["belady"] == most_hits(one_text, slots=slots)


@given(some_requests())
def test_with_a_slot_for_every_expert_only_first_uses_miss(requests: Requests) -> None:
    if not len(requests.expert_A):
        return
    for policy in DEMAND:
        for per_layer in (False, True):
            setting = Setting(slots=requests.num_experts, per_layer=per_layer, cold=True)
            found = simulate(subject(requests), policy, setting)
            pairs = zip(
                np.repeat(requests.document_R, np.diff(requests.start_R1)),
                requests.expert_A,
                strict=True,
            )
            assert found.asked_NL.sum() - found.hits_NL.sum() == len(set(pairs))


def test_slots_are_divided_in_proportion_and_none_is_lost() -> None:
    assert divided(9, np.array([4, 8, 6])).tolist() == [2, 4, 3]
    assert divided(10, np.array([4, 8, 6])).tolist() == [2, 5, 3]  # 2.2, 4.4, 3.3


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.data())
def test_no_layer_is_given_more_slots_than_it_has_experts(
    sizes: list[int], data: st.DataObject
) -> None:
    experts_L = np.array(sizes)
    slots_L = divided(data.draw(st.integers(0, int(experts_L.sum()))), experts_L)
    assert (slots_L <= experts_L).all()
    assert (np.abs(slots_L - slots_L.sum() * experts_L / experts_L.sum()) < 1).all()


def test_a_cache_that_does_not_hold_a_request_is_refused() -> None:
    requests = requests_of(np.array([[[0, 1], [0, 1]]]), experts_L=np.array([4, 4]))
    for slots in (0, 1):
        with pytest.raises(ValueError, match="needs 2 experts of a layer at once; give 2 to 8"):
            outcome(requests, "lru", slots)
    with pytest.raises(ValueError, match="each expert that a token chooses there; give 4 to 8"):
        outcome(requests, "lru", 3, per_layer=True)
    with pytest.raises(ValueError, match="this model has only 8 experts in all its layers; give 2"):
        outcome(requests, "lru", 9)


def test_uneven_layers_need_slots_until_each_holds_its_requests() -> None:
    """Of 2 and 8 experts, all of the small layer are chosen: with 5 of 10 slots it has 1."""
    requests = requests_of(np.array([[[0, 1], [0, -1]]]), experts_L=np.array([2, 8]))
    assert least_slots(requests, per_layer=False) == 2
    assert least_slots(requests, per_layer=True) == 8  # 1.6 and 6.4


def test_a_size_that_leaves_a_small_layer_too_few_is_refused() -> None:
    """Of 6, 6 and 2 experts two are chosen: 10 slots are divided into 4, 4, 2, but 11 into 5, 5,
    1."""
    requests = requests_of(np.array([[[0, 1], [0, 1], [0, 1]]]), experts_L=np.array([6, 6, 2]))
    assert divided(10, requests.experts_L).tolist() == [4, 4, 2]
    assert divided(11, requests.experts_L).tolist() == [5, 5, 1]
    assert least_slots(requests, per_layer=True) == 12
    with pytest.raises(ValueError, match="that a token chooses there; give 12 to 14"):
        outcome(requests, "fixed", 11, per_layer=True)
    assert usual_slots(requests, per_layer=True, shares=(11 / 14, 0.9)) == [13]


@given(some_requests())
def test_from_the_least_slots_on_every_layer_holds_its_requests(requests: Requests) -> None:
    least = least_slots(requests, per_layer=True)
    holds = [
        (divided(slots, requests.experts_L) >= requests.largest()).all()
        for slots in range(1, requests.num_experts + 1)
    ]
    assert all(holds[least - 1 :])
    assert least == 1 or not holds[least - 2]


def test_where_every_expert_is_chosen_the_only_size_is_all_of_them() -> None:
    requests = requests_of(np.array([[[0, 1], [0, 1]]]), experts_L=np.array([2, 2]))
    assert usual_slots(requests, per_layer=True) == [4]


def test_without_other_groups_nothing_is_fitted() -> None:
    alone = Subject.of(one_layer(0, 1), None)
    assert set(RULES) - set(alone.policies) == set(FITTED)
