"""The gates choose and weigh as the papers say."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.router import (
    SUB_GATES,
    DynamicRouter,
    HashRouter,
    SigmoidRouter,
    SoftmaxRouter,
    admitted,
    new_router,
)
from tests.models import small_router


def gate(logits: list[float], router: str = "softmax", **changes: object) -> SoftmaxRouter:
    """A gate that gives `logits` to the one-dimensional input 1."""
    config = replace(small_router(router), hidden_dim=1, num_experts=len(logits))
    found = new_router(replace(config, **changes))  # type: ignore[arg-type]
    assert isinstance(found, SoftmaxRouter)
    found.weight_ED.data = torch.tensor(logits).unsqueeze(1)
    return found


ONE_TD = torch.ones(1, 1)
LOG = torch.tensor([0.1, 0.4, 0.2, 0.3]).log().tolist()  # softmax gives these shares


def chosen(router: SoftmaxRouter) -> dict[int, float]:
    """Expert: weight, in the order of the choice."""
    _, weights_TK, expert_ids_TK = router(ONE_TD)
    weights = [pytest.approx(weight, abs=1e-6) for weight in weights_TK[0].tolist()]
    return dict(zip(expert_ids_TK[0].tolist(), weights, strict=True))


def test_weights_are_softmax_shares_and_not_renormalized() -> None:
    assert chosen(gate(LOG)) == {1: 0.4, 3: 0.3}


def test_the_bias_changes_the_choice_but_not_the_weight() -> None:
    router = gate(LOG, balancing="bias")
    router.bias_E[0] = 0.9
    assert list(chosen(router).items()) == [(1, 0.4), (0, 0.1)]  # the largest weight first


def test_the_bias_moves_towards_underloaded_experts() -> None:
    router = gate(LOG, balancing="bias")
    router.update_bias(torch.tensor([0.0, 8.0, 4.0, 4.0]), rate=0.001)
    assert router.bias_E.tolist() == pytest.approx([0.001, -0.001, 0.0, 0.0])


def test_logits_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        router_logits_TE, _, _ = gate(LOG)(ONE_TD.bfloat16())
    assert router_logits_TE.dtype == torch.float32


def test_gshard_takes_two_with_weights_that_sum_to_1() -> None:
    assert chosen(gate(LOG, "gshard")) == {1: 4 / 7, 3: 3 / 7}


def test_switch_takes_one_with_its_probability() -> None:
    assert chosen(gate(LOG, "switch")) == {1: 0.4}


def logit(probabilities: list[float]) -> list[float]:
    return torch.tensor(probabilities).logit().tolist()


def test_sigmoid_scores_each_expert_by_itself_and_renormalizes_the_chosen() -> None:
    router = gate(logit([0.1, 0.9, 0.2, 0.6]), "sigmoid", balancing="bias")
    assert chosen(router) == {1: 0.6, 3: 0.4}  # 0.9 and 0.6 over 1.5
    router.bias_E[2] = 0.5  # 0.7 beats 0.6, and weighs 0.2 of 1.1
    assert chosen(router) == {1: 9 / 11, 2: 2 / 11}


def test_softmax_groups_count_by_their_best_expert() -> None:
    shares = torch.tensor([0.30, 0.05, 0.25, 0.24, 0.08, 0.08]).log().tolist()
    assert list(chosen(gate(shares))) == [0, 2]
    one = gate(shares, expert_groups=3, groups_per_token=1)  # groups 0-1, 2-3, 4-5
    assert list(chosen(one)) == [0, 1]


def test_sigmoid_groups_count_by_their_best_experts_together() -> None:
    scores = logit([0.9, 0.1, 0.6, 0.55, 0.2, 0.2])
    one = gate(scores, "sigmoid", expert_groups=3, groups_per_token=1)
    assert isinstance(one, SigmoidRouter)
    assert list(chosen(one)) == [2, 3]  # 0.6 + 0.55 beats 0.9 + 0.1


def test_a_hash_looks_at_the_token_id_alone_and_gives_every_expert_as_many() -> None:
    router = new_router(small_router("hash"))
    assert isinstance(router, HashRouter)
    ids_BS = torch.arange(32).view(2, 16)
    logits, weights_TK, expert_ids_TK = router(torch.randn(32, 16), ids_BS)
    assert logits is None
    assert weights_TK.tolist() == [[1.0]] * 32
    assert torch.bincount(expert_ids_TK.flatten()).tolist() == [4] * 8
    again = new_router(small_router("hash"))(torch.randn(32, 16), ids_BS)[2]
    assert (again == expert_ids_TK).all()


def test_an_expert_takes_its_capacity_of_each_sequence_first_come_first_served() -> None:
    asked = torch.tensor([[0], [0], [0], [1], [0], [1], [1], [1]])  # two sequences of four tokens
    kept, so_far = admitted(asked, torch.zeros(2, 2, dtype=torch.int32), capacity=2)
    assert kept.flatten().tolist() == [1, 1, 0, 1, 1, 1, 1, 0]
    assert so_far.tolist() == [[3, 1], [1, 3]]


def in_parts(asked_ST: Tensor, cuts: list[int]) -> list[bool]:
    kept, so_far = [], torch.zeros(1, 4, dtype=torch.int32)
    for start, end in pairwise([0, *cuts, len(asked_ST)]):
        part, so_far = admitted(asked_ST[start:end], so_far, capacity=3)
        kept += part.flatten().tolist()
    return kept


def test_tokens_that_come_later_change_nothing() -> None:
    asked = torch.randint(4, (20, 2), generator=torch.Generator().manual_seed(0))
    assert in_parts(asked, [1, 7, 8]) == in_parts(asked, [])
    assert in_parts(asked[:9], []) == in_parts(asked, [])[:18]


def test_the_listing_of_the_article_cannot_route() -> None:
    """As printed: 4 outputs an expert, softmax over the last axis, then its mean: always 1/4."""
    outputs_TX = nn.Linear(16, SUB_GATES * 8)(torch.randn(32, 16))
    shares_TEs = F.softmax(outputs_TX.view(32, 8, SUB_GATES), dim=-1)
    weights_TE = shares_TEs.mean(dim=-1)
    assert torch.allclose(weights_TE, torch.full((32, 8), 1 / SUB_GATES))


def dynamic(**changes: object) -> DynamicRouter:
    settings = {"router": "dsr", "num_experts": 4, "top_k": 4, "min_k": 1, "top_p": 0.75}
    router = new_router(replace(small_router(), **(settings | changes)))  # type: ignore[arg-type]
    assert isinstance(router, DynamicRouter)
    return router


def with_shares(shares: list[float], **changes: object) -> DynamicRouter:
    """For the input 1, sub-gates that share out each expert's weight as 1 : 2 : 3 : 4."""
    router = dynamic(hidden_dim=1, **changes)
    parts = torch.tensor(shares)[:, None] * torch.tensor([0.1, 0.2, 0.3, 0.4])
    router.weight_ED.data = parts.log().reshape(-1, 1)
    return router


SHARES = [0.05, 0.5, 0.15, 0.3]


def test_dsr_is_a_softmax_over_all_sub_gates_summed_by_expert() -> None:
    router, x_TD = dynamic(top_p=1.0), torch.randn(32, 16)
    router.weight_ED.data.normal_()
    logits_TE, weights_TK, ids_TK = router(x_TD)
    shares_TX = F.softmax(x_TD @ router.weight_ED.T, dim=-1)
    expected_TE = shares_TX.view(32, 4, SUB_GATES).sum(-1)
    assert torch.allclose(router.scores(logits_TE), expected_TE, atol=1e-6)
    assert torch.allclose(expected_TE.gather(-1, ids_TK), weights_TK, atol=1e-6)


def test_dsr_takes_the_smallest_set_that_reaches_p() -> None:
    assert chosen(with_shares(SHARES, top_p=0.5)) == {1: 0.5, -1: 0.0}
    assert chosen(with_shares(SHARES, top_p=0.51)) == {1: 0.5, 3: 0.3, -1: 0.0}
    assert chosen(with_shares(SHARES, top_p=0.9)) == {1: 0.5, 3: 0.3, 2: 0.15, -1: 0.0}


def test_dsr_stays_within_the_fewest_and_the_most() -> None:
    assert chosen(with_shares(SHARES, top_p=0.1, min_k=2)) == {1: 0.5, 3: 0.3, -1: 0.0}
    assert chosen(with_shares(SHARES, top_p=1.0, top_k=2)) == {1: 0.5, 3: 0.3}


def test_k_varies_by_token() -> None:
    router = with_shares(SHARES, top_p=0.75)
    ids_TK = router(torch.tensor([[0.0], [1.0], [5.0]]))[2]  # even shares, these, nearly one
    assert (ids_TK >= 0).sum(-1).tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top_p": 0.0}, r"top_p \(0.0\) must be above 0 and at most 1"),
        ({"top_p": 1.1}, r"top_p \(1.1\)"),
        ({"top_p": None}, r"top_p \(None\)"),
        ({"min_k": 5}, r"min_k \(5\) must be between 1 and top_k \(4\)"),
        ({"top_k": 5}, r"top_k \(5\) must be between 1 and num_experts \(4\)"),
        ({"capacity_factor": 1.0}, "neither capacity_factor"),
        ({"router": "softmax"}, "of the dsr router"),
    ],
)
def test_what_a_dsr_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dynamic(**changes)
