"""Memory is used again when nothing looks at it any more, and never before."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.kernels import cpu_memory
from model.kernels.cpu_memory import SMALL, fresh

LARGE = (SMALL // 4, 2)  # of float32


@pytest.fixture(autouse=True)
def _none_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_memory, "_waiting", {})


def test_memory_is_used_again_by_the_next_of_its_size() -> None:
    tensor = fresh(LARGE, torch.float32)
    place = tensor.data_ptr()
    del tensor
    assert fresh((3, *LARGE), torch.float32).data_ptr() != place
    again = fresh(LARGE[::-1], torch.int32)
    assert again.data_ptr() == place
    assert again.shape == LARGE[::-1]
    assert again.dtype == torch.int32
    assert again.is_contiguous()


def waiting() -> int:
    return sum(size * len(those) for size, those in cpu_memory._waiting.items())


def test_a_view_and_what_autograd_saved_keep_it() -> None:
    tensor = fresh(LARGE, torch.float32).fill_(3.0)
    column = tensor[:, 0]
    factor = torch.ones(LARGE, requires_grad=True)
    product = (factor * tensor).sum()
    del tensor, column
    assert waiting() == 0
    (gradient,) = torch.autograd.grad(product, factor)
    assert (gradient == 3).all()
    assert waiting() == 2 * SMALL
    column = fresh(LARGE, torch.float32)[:, 0]
    assert waiting() == 0
    del column
    assert waiting() == 2 * SMALL


def test_only_so_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_memory, "KEPT", 5 * SMALL)
    several = [fresh(LARGE, torch.float32) for _ in range(4)]
    for left in (2, 4, 0, 2):
        several.pop()
        assert waiting() == left * SMALL


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3 * SMALL), st.booleans()), max_size=20))
def test_living_tensors_do_not_overlap(steps: list[tuple[int, bool]]) -> None:
    living: list[tuple[int, torch.Tensor]] = []
    for number, (size, ends) in enumerate(steps):
        tensor = fresh((size,), torch.uint8).fill_(number)
        assert tensor.shape == (size,)
        living.append((number, tensor))
        if ends:
            living.pop(len(living) // 2)
        del tensor
    for number, tensor in living:
        assert (tensor == number).all()
