"""Routing of transformers changed: what is executed is what by hand must be, and nothing stays.

T = tokens, E = experts, K = chosen.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.decisions import Decisions
from model.huggingface.layers import HuggingFaceLayer
from model.huggingface.trial import tried_layers
from model.intervene import activated, forced, masked, masked_top, scaled, without_shared
from model.recording import recorded_routing
from tests.families.found import families
from tests.families.shrink import EXPERTS
from tests.families.tiny import forward_inputs, tiny
from tests.model.huggingface.by_hand import HAND_MADE, Asked, HandMade, decide
from tests.model.huggingface.proof import implementations, tokens
from tests.model.huggingface.replay import Layers, passing, replay

MASKED = {0: [1, 6], 1: [0, 3]}
CHANGES: dict[str, tuple[Callable[[Layers], AbstractContextManager[None]], list[Asked]]] = {
    "masked": (lambda m: masked(m, MASKED), [Asked(masked=[1, 6]), Asked(masked=[0, 3])]),
    "masked_top": (lambda m: masked_top(m, 2), [Asked(masked_top=2)] * 2),
    "forced": (lambda m: forced(m, {0: [5], 1: [2]}), [Asked(forced=[5]), Asked(forced=[2])]),
    "one expert": (lambda m: activated(m, 1), [Asked(top_k=1)] * 2),
    "four experts": (lambda m: activated(m, 4), [Asked(top_k=4)] * 2),
    "scaled": (
        lambda m: scaled(m, {1: [2, 4]}, factor=0.25),
        [Asked(), Asked(scaled=[2, 4], factor=0.25)],
    ),
}
IDS_BS = tokens(3, 16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def made(name: str, *, dtype: torch.dtype = torch.float32) -> tuple[Any, list[HuggingFaceLayer]]:
    """(the tiny model of HAND_MADE, its MoE layers)"""
    [family] = [family for family in families() if family.name == name.partition(",")[0]]
    model = tiny(family).to(dtype)
    hand = HAND_MADE.get(name)
    for module in model.modules():
        for setting, value in hand.settings if hand else ():
            if hasattr(module, setting) and hasattr(module, "weight"):
                setattr(module, setting, value)
    trial_BS = tokens(2, 32)
    inputs = forward_inputs(model, family, trial_BS, torch.ones_like(trial_BS))
    return model, tried_layers(model, lambda: model(**inputs))


def logits_of(layer: HuggingFaceLayer, seen: list[Tensor]) -> Any:
    def keep(module: nn.Module, arguments: object, output: tuple[Tensor, ...]) -> None:
        seen[:] = [output[0]]

    return layer.gate.register_forward_hook(keep)


def compare(
    layers: list[HuggingFaceLayer], run: Callable[[], object], hand: HandMade, asked: list[Asked]
) -> float:
    """Runs, and holds choices and weights against those by hand; the largest error of what a
    layer's experts gave, relative to its largest output."""
    seen: list[list[Tensor]] = [[] for _ in layers]
    with ExitStack() as stack:
        for layer, kept in zip(layers, seen, strict=True):
            stack.callback(logits_of(layer, kept).remove)
        recording = stack.enter_context(recorded_routing(Layers(layers)))
        passed = stack.enter_context(passing(layers))
        run()
        executed = recording.take()
    worst = 0.0
    for layer_id, layer in enumerate(layers[:2]):
        [logits_TE] = seen[layer_id]
        ids_TK, weights_TK = decide(hand, layer.gate, logits_TE.double().numpy(), asked[layer_id])
        require_same(executed, layer_id, ids_TK, weights_TK, rounding(logits_TE.dtype))
        [x_TD], [came_TD] = passed[layer_id].given, passed[layer_id].came
        by_hand_TD = replay(layer, ids_TK, weights_TK.astype(np.float32), x_TD.float())
        apart = np.abs(by_hand_TD - came_TD.float().numpy()).max()
        worst = max(worst, float(apart / came_TD.abs().max()))
    return worst


def rounding(dtype: torch.dtype) -> float:
    return 2e-2 if dtype == torch.bfloat16 else 1e-4


def require_same(
    executed: Decisions,
    layer_id: int,
    ids_TK: np.ndarray,
    weights_TK: np.ndarray,
    tolerance: float,
) -> None:
    """Expert by expert, whatever their order."""
    given_TE, wanted_TE = (np.zeros((len(ids_TK), EXPERTS)) for _ in range(2))
    np.put_along_axis(wanted_TE, ids_TK, weights_TK, axis=-1)
    ids, weights = executed.expert_ids_TLK[:, layer_id], executed.weights_TLK[:, layer_id]
    assert ids.shape[1] >= ids_TK.shape[1]
    np.put_along_axis(given_TE, ids[:, : ids_TK.shape[1]], weights[:, : ids_TK.shape[1]], axis=-1)
    assert np.abs(given_TE - wanted_TE).max() <= tolerance * weights_TK.max()


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", HAND_MADE)
def test_what_is_executed_is_what_by_hand_must_be(name: str, change: str) -> None:
    model, layers = made(name)
    intervention, asked = CHANGES[change]
    before = model(IDS_BS).logits
    for implementation in implementations(model):
        model.set_experts_implementation(implementation)
        unchanged = compare(layers, lambda: model(IDS_BS), HAND_MADE[name], [Asked()] * 2)
        with intervention(Layers(layers)):
            changed = compare(layers, lambda: model(IDS_BS), HAND_MADE[name], asked)
            assert not torch.equal(model(IDS_BS).logits, before)
        assert unchanged <= 1e-5
        assert changed <= 1e-5
    model.set_experts_implementation("grouped_mm")
    assert torch.equal(model(IDS_BS).logits, before)


@pytest.mark.parametrize("change", ["masked", "four experts"])
@pytest.mark.parametrize("name", ["deepseek_v3", "gpt_oss"])
def test_in_bfloat16_too(name: str, change: str) -> None:
    model, layers = made(name, dtype=torch.bfloat16)
    intervention, asked = CHANGES[change]
    before = model(IDS_BS).logits
    with intervention(Layers(layers)):
        assert compare(layers, lambda: model(IDS_BS), HAND_MADE[name], asked) <= 2e-2
    assert torch.equal(model(IDS_BS).logits, before)


@pytest.mark.parametrize("name", ["deepseek_v2", "deepseek_v3", "qwen2_moe"])
def test_without_its_shared_experts_a_block_gives_what_the_routed_ones_do(name: str) -> None:
    model, layers = made(name)
    before, gave = model(IDS_BS).logits, []
    with without_shared(Layers(layers)), passing(layers) as passed:
        handle = layers[0].block.register_forward_hook(lambda *call: gave.append(call[2]))
        changed = model(IDS_BS).logits
        handle.remove()
    assert torch.equal(gave[0].flatten(0, 1), passed[0].came[0])
    assert not torch.equal(changed, before)
    assert torch.equal(model(IDS_BS).logits, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HAND_MADE if "," not in name])
def test_nothing_stays_of_a_block_that_fails(name: str) -> None:
    model, layers = made(name)
    before = model(IDS_BS).logits
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with pytest.raises(ValueError, match="experts of MoE layer 1 are left"):
        everything_masked(model, layers)
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert torch.equal(model(IDS_BS).logits, before)


def everything_masked(model: Any, layers: list[HuggingFaceLayer]) -> None:
    with scaled(Layers(layers), {0: [1]}, factor=0.0), masked(Layers(layers), {1: range(EXPERTS)}):
        model(IDS_BS)


def test_a_change_that_changes_nothing_leaves_the_choices_of_the_gate() -> None:
    for name in ("deepseek_v2", "deepseek_v3"):
        model, layers = made(name)
        with scaled(Layers(layers), {0: [0], 1: [0]}, factor=1.0):
            assert compare(layers, lambda: model(IDS_BS), HAND_MADE[name], [Asked()] * 2) <= 1e-5  # noqa: B023


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("llama4", r"\(Llama4Router\) does something else than give choices and weights"),
        ("zaya", r"\(ZayaRouter\) does something else"),
        ("inkling", r"\(InklingTopkRouter\) does something else"),
        ("inkling2_loop", r"\(Inkling2LoopTopKRouter\) does something else"),
        ("dbrx", r"\(DbrxRouter\) does something else"),
        ("deepseek_v4", "gate of MoE layer 0 does not choose by its scores"),
        ("phimoe", "how this gate makes weights of scores .by a rule of its own. is not known"),
    ],
)
def test_a_gate_that_does_more_is_refused(name: str, line: str) -> None:
    model, layers = made(name)
    with pytest.raises(ValueError, match=line), activated(Layers(layers), 1):
        model(IDS_BS)


def test_a_rule_that_does_not_say_what_the_gate_chose_is_refused() -> None:
    model, layers = made("deepseek_v3")
    assert layers[0].rule is not None
    layers[0].rule = replace(layers[0].rule, bias_E=None)
    with (
        pytest.raises(ValueError, match="chose other experts than those"),
        masked(Layers(layers), {0: [1]}),
    ):
        model(IDS_BS)
