"""Logits, weights and losses that are no numbers are refused, or recorded with a finding."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from data.routing import FATAL, RoutingBatch
from model.capture import capture_documents
from model.capture_generation import capture_generation
from model.readable import GenerationSettings
from model.transformer import Transformer
from tests.model.broken import all_nan, with_broken_gate
from tests.model.captures import Batches, captured, documents, executed, known, routed_by
from tests.readable import readable

IDS = [3, 1, 2, 4]
TEXT = "cabd"


def allowed(model: Transformer, texts: list[str]) -> RoutingBatch:
    sink = Batches()
    capture_documents(readable(model), documents(texts), sink, allow_nonfinite=True)
    return sink.joined()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("router", ["softmax", "sigmoid", "gshard", "switch", "dsr"])
def test_a_broken_row_of_a_gate_is_refused_with_layer_and_token(router: str, value: float) -> None:
    changes: dict[str, Any] = {"top_k": 6, "min_k": 2, "top_p": 0.5} if router == "dsr" else {}
    model = with_broken_gate(router, value=value, **changes)
    line = r"^MoE layer 1 gives router logits .* first for token 'c' at position 0 of document 0; "
    with pytest.raises(ValueError, match=rf"{line}the weights are damaged") as refused:
        captured(model, [TEXT, "b"])
    assert "\n" not in str(refused.value)


def test_the_first_layer_that_is_broken_is_named() -> None:
    with pytest.raises(ValueError, match=r"^MoE layer 0 gives router logits"):
        captured(all_nan(), [TEXT])


def test_a_broken_head_is_refused_by_its_loss() -> None:
    model = routed_by("softmax", tied_embeddings=False)
    model.head.weight.data[5] = math.nan
    with pytest.raises(ValueError, match=r"^the model gives a loss that is NaN .* token 'c'"):
        captured(model, [TEXT])


def test_what_a_broken_gate_executes_is_recorded_where_that_is_allowed() -> None:
    model = with_broken_gate()
    batch = allowed(model, [TEXT])
    seen = executed(model, IDS)
    np.testing.assert_array_equal(batch.expert_ids_TLK, torch.stack(seen[::2], 1).numpy())
    np.testing.assert_array_equal(batch.weights_TLK, torch.stack(seen[1::2], 1).numpy())
    assert np.isnan(known(batch.margin_TL)).tolist() == [[False, True]] * 4
    assert np.isnan(known(batch.entropy_TL)).tolist() == [[False, True]] * 4
    [finding] = batch.findings
    assert (finding.kind, finding.severity, finding.occurrences) == ("non-finite", FATAL, 4)
    assert "MoE layer 1 gives router logits" in finding.first_example
    assert "token 'c' at position 0 of document 0" in finding.first_example


def test_a_refused_choice_weighs_0_where_its_weight_would_be_nan() -> None:
    batch = allowed(with_broken_gate(capacity_factor=0.5), ["aaaaaaaa"])
    dropped_TK, ids_TK = known(batch.dropped_ids_TLK)[:, 1], batch.expert_ids_TLK[:, 1]
    assert (dropped_TK >= 0).any()
    assert ((dropped_TK >= 0).sum(-1) + (ids_TK >= 0).sum(-1) == 2).all()
    assert (batch.weights_TLK[:, 1][ids_TK < 0] == 0).all()
    assert np.isnan(batch.weights_TLK[:, 1][ids_TK >= 0]).all()


def test_documents_without_such_tokens_are_not_counted() -> None:
    model = routed_by("softmax", tied_embeddings=False)
    model.embedding.weight.data[2] = math.nan  # the letter b
    assert allowed(model, ["acd"]).findings == ()
    [finding] = allowed(model, ["acd", "acbd"]).findings
    assert finding.occurrences == 4  # attention gives NaN to all of the text
    assert "MoE layer 0 gives router logits" in finding.first_example
    assert "of document 1" in finding.first_example


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nothing_is_sampled_from_nan(temperature: float) -> None:
    settings = GenerationSettings(3, seed=0, temperature=temperature)
    model, sink = readable(with_broken_gate()), Batches()
    with pytest.raises(ValueError, match=r"^MoE layer 1 gives router logits .* token 'c'"):
        capture_generation(model, documents([TEXT]), sink, settings=settings)
    with pytest.raises(ValueError, match=r"^the model gives the next token logits that are NaN"):
        capture_generation(
            model,
            documents([TEXT]),
            sink,
            allow_nonfinite=True,
            settings=settings,
        )
    assert not sink.written
