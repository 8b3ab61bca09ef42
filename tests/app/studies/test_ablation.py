"""Sums of loss under interventions: the same documents, each variant by itself."""

import numpy as np
import pytest
import torch

from data.routing import CancelledError, Document
from model.ablation import document_losses
from model.encoded import Encoded
from model.intervene import activated, masked
from model.transformer import Transformer
from tests.models import small_config
from tests.readable import readable

IDS = ([3, 4, 5, 6], [7, 8], [9, 10, 11])
DOCUMENTS = [
    Encoded(Document(doc_id=n, text="x"), ids, ["x"] * len(ids), [None] * len(ids))
    for n, ids in enumerate(IDS)
]


@pytest.fixture
def model() -> Transformer:
    model = Transformer(small_config()).eval()
    model.initialize(seed=0)
    return model


def alone(model: Transformer, ids: list[int]) -> float:
    """The sum of loss of one document, without batch or padding."""
    with torch.inference_mode():
        logits_SV = model(torch.tensor([[0, *ids[:-1]]]))[0]
    return float(torch.nn.functional.cross_entropy(logits_SV, torch.tensor(ids), reduction="sum"))


def test_every_variant_is_the_loss_of_documents_read_alone(model: Transformer) -> None:
    change = {"mask": lambda: masked(model, {0: [1, 2]}), "one": lambda: activated(model, 1)}
    losses = document_losses(readable(model), DOCUMENTS, change)
    assert losses.variants == ["baseline", "mask", "one"]
    assert losses.tokens_N.tolist() == [4, 2, 3]
    np.testing.assert_allclose(losses.nats_VN[0], [alone(model, ids) for ids in IDS], rtol=1e-4)
    for row, name in enumerate(change, start=1):
        with change[name]():
            expected = [alone(model, ids) for ids in IDS]
        np.testing.assert_allclose(losses.nats_VN[row], expected, rtol=1e-4)
    assert not np.allclose(losses.nats_VN[0], losses.nats_VN[1])


def test_progress_ends_at_the_total_and_cancel_stops(model: Transformer) -> None:
    seen: list[tuple[int, int]] = []
    document_losses(readable(model), DOCUMENTS, {}, on_progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (1, 1)
    with pytest.raises(CancelledError):
        document_losses(readable(model), DOCUMENTS, {}, cancelled=lambda: True)


def test_the_baseline_keeps_its_name(model: Transformer) -> None:
    with pytest.raises(ValueError, match="name the intervention otherwise"):
        document_losses(readable(model), DOCUMENTS, {"baseline": lambda: activated(model, 1)})
