"""The gate chooses and weighs as the papers say."""

import pytest
import torch

from model.router import SoftmaxRouter


def router_with_logits(logits: list[float], **options: bool) -> SoftmaxRouter:
    """A gate that gives `logits` to the one-dimensional input 1."""
    router = SoftmaxRouter(1, num_experts=len(logits), top_k=2, bias_balancing=False)
    if options:
        router = SoftmaxRouter(1, num_experts=len(logits), top_k=2, **options)
    router.weight_ED.data = torch.tensor(logits).unsqueeze(1)
    return router


ONE_TD = torch.ones(1, 1)
LOG = torch.tensor([0.1, 0.4, 0.2, 0.3]).log().tolist()  # softmax gives these shares


def test_weights_are_softmax_shares_and_not_renormalized() -> None:
    _, weights_TK, expert_ids_TK = router_with_logits(LOG)(ONE_TD)
    assert expert_ids_TK.tolist() == [[1, 3]]
    assert weights_TK[0].tolist() == pytest.approx([0.4, 0.3])


def test_the_bias_changes_the_choice_but_not_the_weight() -> None:
    router = router_with_logits(LOG, bias_balancing=True)
    router.bias_E[0] = 0.9
    _, weights_TK, expert_ids_TK = router(ONE_TD)
    assert expert_ids_TK.tolist() == [[1, 0]]  # the largest weight first
    assert weights_TK[0].tolist() == pytest.approx([0.4, 0.1])


def test_the_bias_moves_towards_underloaded_experts() -> None:
    router = router_with_logits(LOG, bias_balancing=True)
    router.update_bias(torch.tensor([0.0, 8.0, 4.0, 4.0]), rate=0.001)
    assert router.bias_E.tolist() == pytest.approx([0.001, -0.001, 0.0, 0.0])


def test_logits_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        router_logits_TE, _, _ = router_with_logits(LOG)(ONE_TD.bfloat16())
    assert router_logits_TE.dtype == torch.float32
