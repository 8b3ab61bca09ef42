"""Bits per byte, by hand."""

import math

import numpy as np
import pytest
import torch

from model.evaluation import bits_per_byte, document_nats, evaluation_batches
from model.transformer import Transformer
from tests.models import small_config


def test_every_token_but_the_first_is_predicted_once() -> None:
    tokens, doc_start = np.arange(10, dtype=np.uint16), np.array([0, 7, 8, 10])
    batches = list(evaluation_batches(tokens, doc_start, length=3, batch_size=2))
    assert [ids.tolist() for ids, _ in batches] == [
        [[0, 1, 2, 3], [3, 4, 5, 6]],  # a document of one token has nothing to predict
        [[8, 9, -1, -1]],
    ]
    assert [documents.tolist() for _, documents in batches] == [[0, 0], [2]]


def test_a_uniform_model_pays_the_logarithm_of_its_vocabulary() -> None:
    model = Transformer(small_config())
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    batch = (np.array([[1, 2, 3, -1], [4, 5, -1, -1]]), np.array([0, 1]))
    nats_N = document_nats(model, [batch], num_documents=2)
    assert nats_N == pytest.approx([2 * math.log(32), math.log(32)])


def test_bits_per_byte_divides_sums_and_skips_absent_domains() -> None:
    nats_N = np.array([1.0, 2.0, 3.0]) * math.log(2)
    found = bits_per_byte(nats_N, np.array([1, 4, 5]), np.array([0, 0, 2]), ["math", "code", "x"])
    assert found == pytest.approx({"math": 3 / 5, "x": 3 / 5, "all": 6 / 10})
