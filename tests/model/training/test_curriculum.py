"""The curriculum asks for what is being learned, and is the same after a resume."""

import numpy as np
import pytest

from model.training.curriculum import Curriculum, StagedBatches
from model.training.stages import Stage, spans

TOKENS_G = np.array([100.0, 100.0])


def learned(*losses: tuple[float, float]) -> Curriculum:
    found = Curriculum(np.array([3.0, 1.0]))
    for loss_G in losses:
        found.learned(np.array(loss_G) * TOKENS_G, TOKENS_G)
    return found


def test_it_starts_as_the_corpus_is_made_up() -> None:
    assert learned().shares().tolist() == [0.75, 0.25]
    assert learned((5.0, 5.0)).shares().tolist() == [0.75, 0.25]  # no slope yet


def test_half_of_the_sequences_follow_the_falling_loss() -> None:
    # 5 -> 4: fast 4.5, slow 4.9; the other stays
    assert learned((5.0, 5.0), (5.0, 4.0)).shares() == pytest.approx([0.375, 0.625])
    assert learned((5.0, 5.0), (4.0, 4.0)).shares() == pytest.approx([0.625, 0.375])
    assert learned((5.0, 5.0), (5.0, 6.0)).shares().tolist() == [0.75, 0.25]  # worse: no progress


def test_a_domain_that_was_not_drawn_keeps_its_means() -> None:
    found = learned((5.0, 5.0), (5.0, 4.0))
    found.learned(np.array([400.0, 0.0]), np.array([100.0, 0.0]))
    assert found.fast_G == pytest.approx([4.5, 4.5])


class Numbers:
    """Sequences that say their domain and how many of it came before."""

    domains: tuple[str, ...] = ("a", "b")
    corpus_G = np.array([0.5, 0.5])

    def batch(self, domain_B: np.ndarray, drawn_G: np.ndarray, length: int) -> np.ndarray:
        place_B = np.array([(domain_B[:b] == domain_B[b]).sum() for b in range(len(domain_B))])
        first_B = 100 * domain_B + drawn_G[domain_B] + place_B
        return np.repeat(first_B[:, None], length + 1, axis=1)


STAGE = Stage(name="all", percent=100, curriculum=True)
(SPAN,) = spans([STAGE], steps=9, batch_size=4)


def drawn(batches: StagedBatches, steps: range) -> list[list[int]]:
    found = []
    for step in steps:
        ids_BS, domain_B = batches.draw(step, SPAN)
        found.append(ids_BS[:, 0].tolist())
        counts_G = domain_counts(domain_B)
        batches.report(step, SPAN, np.stack([counts_G * (9 - step), counts_G, counts_G]))
    return found


def domain_counts(domain_B: np.ndarray) -> np.ndarray:
    return np.bincount(domain_B, minlength=2).astype(float)


def test_the_ramp_keeps_the_tokens_of_a_step() -> None:
    batches = StagedBatches(Numbers(), context_length=8, seed=0)
    shapes = [batches.draw(step, SPAN)[0].shape for step in range(9)]
    assert shapes == [(16, 3)] * 3 + [(8, 5)] * 3 + [(4, 9)] * 3


def test_no_sequence_comes_twice_at_one_length() -> None:
    batches = StagedBatches(Numbers(), context_length=8, seed=0)
    first = [number for step in drawn(batches, range(3)) for number in step]
    assert len(set(first)) == len(first) == 48


def test_a_restored_state_goes_on_as_if_never_stopped() -> None:
    whole = StagedBatches(Numbers(), context_length=8, seed=0)
    expected = drawn(whole, range(9))
    cut = StagedBatches(Numbers(), context_length=8, seed=0)
    begun = drawn(cut, range(5))
    later = StagedBatches(Numbers(), context_length=8, seed=0)
    later.restore(cut.state())
    assert begun + drawn(later, range(5, 9)) == expected
