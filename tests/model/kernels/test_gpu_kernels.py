"""The GPU's routing and experts; without a GPU Triton interprets its kernels (conftest.py)."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

pytest.importorskip("triton")  # has no release for this platform

from model.int8_experts import Int8Experts
from model.kernels.gpu_decode import decoded
from model.kernels.gpu_experts import Activated, RoutedExperts
from model.kernels.gpu_fused import FusedExperts
from model.kernels.gpu_loss import BLOCK, fused_token_loss
from model.kernels.gpu_routing import fused_gate, ordered
from model.moe import Experts, new_experts
from tests.model.expert_loop import loop_over_experts

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("tokens", "num_experts", "top_k"), [(1, 4, 1), (70, 6, 3), (150, 64, 6)])
def test_places_are_those_of_a_stable_sort(tokens: int, num_experts: int, top_k: int) -> None:
    ids_TK = torch.rand(tokens, num_experts, device=DEVICE).topk(top_k).indices
    place_TK, choice_C, ends_E = ordered(ids_TK, num_experts=num_experts)
    expert_C, order = ids_TK.flatten().sort(stable=True)
    assert choice_C.tolist() == order.tolist()
    assert place_TK.flatten()[order].tolist() == list(range(tokens * top_k))
    experts_E = torch.arange(num_experts, device=DEVICE)
    assert ends_E.tolist() == torch.searchsorted(expert_C, experts_E, right=True).tolist()


def test_a_token_may_choose_one_expert_twice() -> None:
    ids_TK = torch.tensor([[2, 0, 2], [2, 2, 2]], device=DEVICE)
    place_TK, choice_C, ends_E = ordered(ids_TK, num_experts=3)
    assert choice_C.tolist() == [1, 0, 2, 3, 4, 5]
    assert place_TK.tolist() == [[1, 0, 2], [3, 4, 5]]
    assert ends_E.tolist() == [1, 1, 6]


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize(("tokens", "num_experts"), [(5, 6), (150, 64), (70, 384), (5, 1_000)])
def test_the_gate_is_that_of_the_listing(sigmoid: bool, tokens: int, num_experts: int) -> None:
    dtype = torch.bfloat16 if DEVICE == "cuda" else torch.float32  # the interpreter's products
    x_TD = torch.randn(tokens, 128, device=DEVICE, dtype=dtype)
    weight_ED = torch.randn(num_experts, 128, device=DEVICE) * 0.1
    logits_TE, weights_TK, ids_TK = fused_gate(x_TD, weight_ED, top_k=4, sigmoid=sigmoid)
    expected_TE = F.linear(x_TD.float(), weight_ED)
    scores_TE = expected_TE.sigmoid() if sigmoid else expected_TE.softmax(-1)
    expected_TK, chosen_TK = scores_TE.topk(4)
    assert_close(logits_TE, expected_TE, atol=1e-4, rtol=1e-4)
    assert_close(weights_TK, expected_TK, atol=1e-4, rtol=1e-4)
    assert torch.equal(ids_TK, chosen_TK)


@pytest.mark.parametrize("vocabulary", [2, 100, BLOCK, 2 * BLOCK + 7])
def test_the_loss_is_that_of_the_softmax(vocabulary: int) -> None:
    dtype = torch.bfloat16 if DEVICE == "cuda" else torch.float32
    logits_TV = (10 * torch.randn(5, vocabulary, device=DEVICE)).to(dtype)
    logits_TV[1, 1:] = -torch.inf  # never predicted
    following_T = torch.randint(vocabulary, (5,), device=DEVICE)
    following_T[1] = 0
    expected_T = F.cross_entropy(logits_TV.double(), following_T, reduction="none").float()
    assert_close(fused_token_loss(logits_TV, following_T), expected_T, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_logit_that_is_no_number_gives_no_loss(value: float) -> None:
    logits_TV = torch.zeros(2, 10, device=DEVICE)
    logits_TV[0, 3] = value
    loss_T = fused_token_loss(logits_TV, torch.tensor([1, 1], device=DEVICE))
    assert loss_T.isnan().tolist() == [True, False]


@pytest.fixture
def highest() -> Iterator[None]:
    """Products of float32 as exact as float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def new_initialized(dim: int, width: int) -> Experts:
    experts = new_experts(dim, width, num_experts=6)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return experts


def differentiated(output_TD: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    direction_TD = torch.linspace(-1, 1, output_TD.numel(), device=DEVICE).view_as(output_TD)
    return torch.autograd.grad((output_TD * direction_TD).sum(), inputs)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["grouped", "fused"])
@pytest.mark.parametrize(("dim", "width"), [(16, 8), (36, 20)])  # a power of 2, and not
@pytest.mark.parametrize("crowded", [False, True])
def test_experts_and_their_gradients(way: str, dim: int, width: int, crowded: bool) -> None:
    experts = new_initialized(dim, width).to(DEVICE)
    x_TD = torch.randn(50, dim, device=DEVICE, requires_grad=True)
    ids_TK = torch.rand(50, 6, device=DEVICE).topk(2).indices
    if crowded:  # four experts without a token
        ids_TK = torch.tensor([[5, 2]], device=DEVICE).expand(50, 2)
    weights_TK = torch.rand(50, 2, device=DEVICE, requires_grad=True)
    inputs = (x_TD, weights_TK, experts.gate_up_EDF, experts.down_EFD)

    if way == "grouped":
        found_TD = RoutedExperts.apply(x_TD, ids_TK, weights_TK, *inputs[2:])
    else:
        found_TD = FusedExperts.apply(x_TD, ids_TK, weights_TK, *inputs[2:], True)
    expected_TD = loop_over_experts(experts, x_TD, ids_TK, weights_TK)

    assert_close(found_TD, expected_TD, atol=1e-5, rtol=1e-4)
    pairs = zip(differentiated(found_TD, inputs), differentiated(expected_TD, inputs), strict=True)
    for found, expected in pairs:
        assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_activation_and_its_gradient() -> None:
    gate_up_BSF = torch.randn(2, 3, 40, device=DEVICE, requires_grad=True)
    gate_BSF, up_BSF = gate_up_BSF.chunk(2, dim=-1)
    found_BSF, expected_BSF = Activated.apply(gate_up_BSF), F.silu(gate_BSF) * up_BSF
    assert_close(found_BSF, expected_BSF)
    (found,) = differentiated(found_BSF, (gate_up_BSF,))
    assert_close(found, *differentiated(expected_BSF, (gate_up_BSF,)))


@pytest.mark.usefixtures("highest")
@pytest.mark.parametrize("chosen", ["apart", "by all", "twice", "by none"])
@pytest.mark.parametrize(("tokens", "dim", "width"), [(1, 16, 8), (20, 36, 20)])
def test_few_tokens_read_each_weight_once(tokens: int, dim: int, width: int, chosen: str) -> None:
    experts = new_initialized(dim, width).to(DEVICE)
    x_TD = torch.randn(tokens, dim, device=DEVICE)
    ids_TK = torch.rand(tokens, 6, device=DEVICE).topk(2).indices
    if chosen != "apart":  # 20 tokens of one expert are two blocks of rows
        ids_TK = torch.tensor([[5, 2 if chosen == "by all" else 5]], device=DEVICE)
        ids_TK = ids_TK.repeat(tokens, 1)
    weights_TK = torch.rand(tokens, 2, device=DEVICE)
    expected_TD = loop_over_experts(experts, x_TD, ids_TK, weights_TK)
    if chosen == "by none":
        ids_TK[0], expected_TD = -1, expected_TD.index_fill(0, torch.tensor([0], device=DEVICE), 0)
    gate_up_EDF, down_EFD = experts.gate_up_EDF.detach(), experts.down_EFD.detach()
    found_TD = decoded(x_TD, ids_TK, weights_TK, gate_up_EDF, down_EFD)
    assert_close(found_TD, expected_TD.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("highest")
def test_few_tokens_by_int8_are_those_of_its_numbers() -> None:
    experts = Int8Experts(new_initialized(16, 8).to(DEVICE)).to(DEVICE)
    x_TD = torch.randn(5, 16, device=DEVICE)
    ids_TK = torch.rand(5, 6, device=DEVICE).topk(2).indices
    weights_TK = torch.rand(5, 2, device=DEVICE)
    gate_up, down = experts.gate_up, experts.down
    found_TD = decoded(
        x_TD,
        ids_TK,
        weights_TK,
        gate_up.whole_EYX.mT,
        down.whole_EYX.mT,
        scales=(gate_up.scale_EY, down.scale_EY),
    )
    expected_TD = loop_over_experts(experts, x_TD, ids_TK, weights_TK)
    assert_close(found_TD, expected_TD, atol=1e-5, rtol=1e-4)
