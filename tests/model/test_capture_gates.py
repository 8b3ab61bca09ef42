"""What a capture records of every kind of gate is what was executed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from data.routing import NO_EXPERT
from model.transformer import Transformer
from tests.model.captures import TEXTS, captured, executed, known, routed_by
from tests.models import small_config


@pytest.mark.parametrize(
    ("router", "changes"),
    [
        ("softmax", {"expert_groups": 4, "groups_per_token": 2}),
        ("sigmoid", {"balancing": "bias", "expert_groups": 2, "groups_per_token": 1}),
        ("gshard", {}),
        ("switch", {}),
        ("hash", {}),
        ("dsr", {"top_k": 6, "min_k": 2, "top_p": 0.5}),
    ],
)
def test_every_gate_is_recorded_as_executed(router: str, changes: dict[str, object]) -> None:
    model = routed_by(router, **changes)
    found = captured(model, ["cabdacbd"])
    seen = executed(model, [3, 1, 2, 4, 1, 3, 2, 4])
    np.testing.assert_array_equal(found.expert_ids_TLK, torch.stack(seen[::2], 1).numpy())
    np.testing.assert_array_equal(found.weights_TLK, torch.stack(seen[1::2], 1).numpy())
    assert found.dropped_ids_TLK is None


def test_the_number_of_experts_may_differ_from_token_to_token() -> None:
    model = routed_by("dsr", top_k=8, min_k=1, top_p=0.5, init_std=1.0)
    found = captured(model, ["cabdacbd"])
    k_TL = (found.expert_ids_TLK >= 0).sum(-1)
    assert 1 <= k_TL.min() < k_TL.max() <= 8
    reached_TL = found.weights_TLK.sum(-1)
    assert (reached_TL >= 0.5 - 1e-6).all()
    assert (known(found.margin_TL)[k_TL < 8] >= 0).all()


def test_a_hash_has_neither_entropy_nor_margin() -> None:
    found = captured(routed_by("hash"), ["ab"])
    assert np.isnan(known(found.entropy_TL)).all()
    assert np.isnan(known(found.margin_TL)).all()
    assert not np.isnan(found.loss_T).any()


def test_a_choice_that_is_refused_is_recorded_as_dropped_and_not_as_executed() -> None:
    model = routed_by("hash", capacity_factor=0.5)  # 16 tokens on 8 experts: one each
    found = captured(model, ["aabab", "b"])
    a, b = model.moe_layers()[0].gate.get_buffer("expert_of_token_V")[1:3].tolist()
    assert a != b
    assert found.expert_ids_TLK[:, 0, 0].tolist() == [a, -1, b, -1, -1, b]
    assert known(found.dropped_ids_TLK)[:, 0, 0].tolist() == [-1, a, -1, a, b, -1]
    np.testing.assert_array_equal(found.expert_ids_TLK[:, 0], found.expert_ids_TLK[:, 1])


def test_what_is_dropped_does_not_depend_on_the_batch() -> None:
    model = routed_by("gshard", capacity_factor=0.5)
    texts = ["aabbaaccaa", "a", "dcbaabcdab"]
    together, alone = captured(model, texts), captured(model, texts, batch_tokens=1)
    assert (known(together.dropped_ids_TLK) != -1).any()
    np.testing.assert_array_equal(together.dropped_ids_TLK, alone.dropped_ids_TLK)
    np.testing.assert_array_equal(together.expert_ids_TLK, alone.expert_ids_TLK)


def test_bias_balanced_choices_are_stored_as_executed() -> None:
    model = Transformer(replace(small_config(), balancing="bias"))
    model.initialize(seed=1)
    for layer in model.moe_layers():
        layer.gate.get_buffer("bias_E").add_(torch.arange(8))  # the last experts always win
    batch = captured(model.eval(), TEXTS)
    assert set(batch.expert_ids_TLK.flatten().tolist()) == {6, 7}
    assert (np.diff(batch.weights_TLK, axis=-1) <= 0).all()
    assert (known(batch.margin_TL) >= 0).all()


def sure(router: str, **changes: object) -> Transformer:
    """A gate so sure of its first expert that the score of the second underflows to 0."""
    model = routed_by(router, **changes)
    for layer in model.moe_layers():
        layer.gate.get_parameter("weight_ED").data.mul_(10_000)
    return model


@pytest.mark.parametrize(
    ("router", "changes"),
    [
        ("softmax", {}),
        ("softmax", {"capacity_factor": 8.0}),  # room for all
        ("gshard", {"capacity_factor": 8.0}),
        ("softmax", {"balancing": "bias", "capacity_factor": 8.0}),
        ("dsr", {"top_k": 6, "min_k": 2, "top_p": 0.5}),
    ],
)
def test_a_weight_of_0_is_executed(router: str, changes: dict[str, object]) -> None:
    model = sure(router, **changes)
    found = captured(model, ["cabdacbd"])
    seen = executed(model, [3, 1, 2, 4, 1, 3, 2, 4])
    assert (found.weights_TLK[..., 1] == 0).any()
    np.testing.assert_array_equal(found.expert_ids_TLK, torch.stack(seen[::2], 1).numpy())
    np.testing.assert_array_equal(found.weights_TLK, torch.stack(seen[1::2], 1).numpy())
    if found.dropped_ids_TLK is not None:
        assert (found.dropped_ids_TLK == NO_EXPERT).all()


def test_a_weight_of_0_is_not_taken_for_a_choice_refused_and_comes_before_it() -> None:
    model = sure("softmax", capacity_factor=0.25)  # an expert takes one choice of a sequence
    kept: list[Tensor] = []
    hooks = [
        layer.admission.register_forward_hook(lambda module, given, kept_TK: kept.append(kept_TK))
        for layer in model.moe_layers()
        if layer.admission is not None
    ]
    found = captured(model, ["cabdacbd"])
    for hook in hooks:
        hook.remove()
    kept_TLK = torch.stack(kept, 1)[1:].numpy()
    refused_TL = (known(found.dropped_ids_TLK) != NO_EXPERT).sum(-1)
    np.testing.assert_array_equal(refused_TL, (~kept_TLK).sum(-1))
    executed_TLK = found.expert_ids_TLK != NO_EXPERT
    assert ((found.weights_TLK == 0) & executed_TLK).any()
    assert (np.diff(executed_TLK.astype(int), axis=-1) <= 0).all()
