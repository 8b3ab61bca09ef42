"""Experts spread over processes do what one process does, and send what is counted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from data.routing import NO_EXPERT
from model.parallel.exchange import scaled, unscaled
from model.parallel.expert_parallel import Traffic, dispatch_bytes, experts_per_rank
from model.router import new_router
from tests import torchrun
from tests.models import small_router
from tests.spread import LAYERS


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.exhaustive)])
def compared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What every rank measured."""
    folder = tmp_path_factory.mktemp(f"ranks-{request.param}")
    torchrun.run(request.param, "-m", "tests.spread", "compare", str(folder))
    return [json.loads((folder / f"{r}.json").read_text()) for r in range(request.param)]


@pytest.mark.slow
@pytest.mark.parametrize("dispatch", ["naive", "once"])
@pytest.mark.parametrize("gate", list(LAYERS))
def test_outputs_and_gradients_equal_those_of_one_process(
    compared: list[dict[str, Any]], dispatch: str, gate: str
) -> None:
    for rank in compared:
        assert max(rank[f"{dispatch} {gate}"]) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("dispatch", ["naive", "once"])
def test_rows_in_fp8_cost_some_precision(compared: list[dict[str, Any]], dispatch: str) -> None:
    largest = max(rank[f"{dispatch} fp8"] for rank in compared)
    assert 1e-4 < largest < 0.1  # three bits of mantissa


@pytest.mark.slow
@pytest.mark.parametrize("payload", ["input", "fp8"])
@pytest.mark.parametrize("dispatch", ["naive", "once"])
def test_the_bytes_counted_are_the_bytes_sent(
    compared: list[dict[str, Any]], dispatch: str, payload: str
) -> None:
    # ids and weights come with the rows out; results come back without
    sent, counted = compared[0][f"{dispatch} bytes {payload}"]
    assert sent == counted > 0


@pytest.mark.slow
def test_ranks_need_not_run_as_many_forwards(compared: list[dict[str, Any]]) -> None:
    assert max(rank["uneven forwards"] for rank in compared) <= 1e-5


@pytest.mark.slow
def test_a_rank_that_leaves_is_named_to_the_others(tmp_path: Path) -> None:
    torchrun.run(2, "-m", "tests.spread", "lose", str(tmp_path))
    message = json.loads((tmp_path / "0.json").read_text())
    assert message.startswith("rank 0 of 2 waits for rows that do not come: another rank has")


def test_bytes_of_two_tokens() -> None:
    # rank 0 holds experts 0 and 1, rank 1 has 2 and 3; rows of 100 numbers of 2 bytes
    ids_TK = torch.tensor([[2, 3], [1, NO_EXPERT]])
    in_bf16 = dispatch_bytes(ids_TK, num_experts=4, rank=0, ranks=2, dim=100, itemsize=2)
    assert in_bf16 == Traffic(naive=2 * (200 + 200), once=200 + 2 * 8 + 200)
    in_fp8 = dispatch_bytes(ids_TK, num_experts=4, rank=0, ranks=2, dim=100, itemsize=2, fp8=True)
    assert in_fp8 == Traffic(naive=2 * (116 + 200), once=116 + 2 * 8 + 200)


@pytest.mark.parametrize(
    ("limits", "ratio"), [({"expert_groups": 4, "groups_per_token": 2}, 3.969), ({}, 2.168)]
)
def test_once_sends_less_than_naive(limits: dict[str, int], ratio: float) -> None:
    torch.manual_seed(0)
    gate = new_router(small_router("softmax", num_experts=64, top_k=8, hidden_dim=2048, **limits))
    torch.nn.init.normal_(gate.get_parameter("weight_ED"), std=0.02)
    _, _, ids_TK = gate(torch.randn(4096, 2048), torch.zeros(1, 4096, dtype=torch.long))
    sent = [
        dispatch_bytes(ids_TK, num_experts=64, rank=rank, ranks=4, dim=2048, itemsize=2)
        for rank in range(4)
    ]
    assert sum(t.naive for t in sent) / sum(t.once for t in sent) == pytest.approx(ratio, abs=1e-3)


def test_a_row_of_zeros_survives_fp8() -> None:
    rows_ND = torch.tensor([[0.0, 0.0], [448.0, -1.0]])
    assert unscaled(*scaled(rows_ND), torch.float32).tolist() == rows_ND.tolist()


def test_ranks_must_divide_the_experts() -> None:
    with pytest.raises(ValueError, match=r"3 ranks must divide num_experts \(8\)"):
        experts_per_rank(8, 3)
