"""The way of computing experts is a matter of shape, type and device alone."""

import torch

from model.quickest import Shape, Way, quickest_elsewhere, quickest_on_cpu


def shape(tokens: int, dim: int, num_experts: int, top_k: int, width: int) -> Shape:
    return Shape(tokens, top_k, num_experts, width, dim)


def on_gpu(*sizes: int, launched: bool = False) -> Way:
    return quickest_elsewhere(shape(*sizes), torch.bfloat16, launched=launched)


def on_cpu(*sizes: int, differentiable: bool = False) -> Way:
    return quickest_on_cpu(shape(*sizes), torch.float32, differentiable=differentiable)


def test_large_experts_are_computed_for_those_who_chose_them() -> None:
    # measured: 8 of 64 took 5.4 ms in order, 18.2 where all computed
    assert on_gpu(4096, 4096, 64, 8, 1536) == Way.SORTED
    assert on_gpu(4096, 4096, 8, 2, 14336) == Way.SORTED
    assert on_gpu(32768, 1024, 16, 2, 4096) == Way.SORTED


def test_many_narrow_experts_compute_all() -> None:
    assert on_gpu(32768, 256, 256, 32, 16) == Way.ALL
    assert on_gpu(32768, 256, 64, 32, 48) == Way.ALL


def test_what_is_launched_piece_by_piece_prefers_few_pieces() -> None:
    small = 512, 512, 64, 8, 64
    assert on_gpu(*small, launched=True) == Way.ALL
    assert on_gpu(*small) == Way.SORTED


def test_a_cpu_takes_many_choices_in_groups() -> None:
    assert on_cpu(64, 512, 64, 6, 48) == Way.SORTED
    assert on_cpu(1024, 512, 64, 6, 48) == Way.GROUPS
    assert on_cpu(1024, 512, 8, 4, 512) == Way.GROUPS  # half of them: 52 ms, 91 where all compute


def test_large_gradients_are_written_in_groups() -> None:
    large = 16, 512, 64, 6, 352
    assert on_cpu(*large) == Way.SORTED
    assert on_cpu(*large, differentiable=True) == Way.GROUPS


def test_rows_that_grouped_products_refuse_go_in_groups() -> None:
    assert on_cpu(1, 15, 8, 2, 7) == Way.GROUPS
