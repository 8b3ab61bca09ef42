"""A model of another make goes through all that reads models, and what it says of itself counts."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data.routing import DECODE, PREFILL, Document, RoutingBatch
from model.ablation import document_losses
from model.capture import capture_documents
from model.capture_generation import capture_generation
from model.completion import complete
from model.encoded import encoded_documents
from model.expert_inputs import expert_inputs, expert_outputs
from model.intervene import activated, forced, masked, masked_top, scaled, without_shared
from model.likelihood import choice_log_likelihoods, log_likelihoods, text_windows
from model.readable import GenerationSettings, ReadableModel
from model.recording import recorded_routing
from tests.foreign import EXPERTS, START, ForeignModel
from tests.model.captures import known

TEXTS = ["hello", "a", "expertsof", "zz"]
DOCUMENTS = [Document(doc_id=number, text=text) for number, text in enumerate(TEXTS)]


@pytest.fixture
def model() -> ForeignModel:
    return ForeignModel()


class Sink:
    def __init__(self) -> None:
        self.batches: list[RoutingBatch] = []

    def write(self, batch: RoutingBatch) -> None:
        self.batches.append(batch)


def letters(model: ReadableModel, text: str) -> list[int]:
    return model.encode([text])[0][0]


@torch.inference_mode()
def read_alone(model: ForeignModel, text: str) -> tuple[list[Tensor], Tensor]:
    """(the probabilities of the gate of each block, the loss of each letter), without hooks."""
    ids = letters(model, text)
    inputs = torch.tensor([[START, *ids]])
    x_SD = model.sums.wte(inputs)[0].cumsum(0) / torch.arange(1, len(ids) + 2)[:, None]
    gates = []
    for block in model.sums.sparse_blocks():
        gates.append(block.chooser(x_SD)[0][1:])
        x_SD = x_SD + block(x_SD)
    logits_SV = (x_SD @ model.sums.wte.weight.T)[:-1]
    return gates, F.cross_entropy(logits_SV, torch.tensor(ids), reduction="none")


def test_a_capture_takes_the_probabilities_of_the_gate_as_they_are(model: ForeignModel) -> None:
    sink = Sink()
    capture_documents(model, DOCUMENTS, sink, batch_tokens=14)
    [batch] = sink.batches
    assert [document.text for document in batch.documents] == TEXTS
    for number, text in enumerate(TEXTS):
        own_T = batch.doc_id_T == number
        gates, loss_T = read_alone(model, text)
        np.testing.assert_allclose(batch.loss_T[own_T], loss_T, rtol=1e-4)
        for layer_id, probability_TE in enumerate(gates):
            entropy_T = -(probability_TE * probability_TE.log()).sum(-1)
            np.testing.assert_allclose(
                known(batch.entropy_TL)[own_T, layer_id], entropy_T, rtol=1e-5
            )
            ordered_TE, _ = (probability_TE + torch.tensor([0, 0.1, 0, 0.2])).sort(descending=True)
            margin_T = ordered_TE[:, 1] - ordered_TE[:, 2]
            np.testing.assert_allclose(known(batch.margin_TL)[own_T, layer_id], margin_T, atol=1e-6)
            ids_TK = torch.from_numpy(batch.expert_ids_TLK[own_T, layer_id]).long()
            weights_TK = probability_TE.gather(-1, ids_TK)
            np.testing.assert_allclose(
                batch.weights_TLK[own_T, layer_id], weights_TK, rtol=1e-5, atol=1e-6
            )
    assert (known(batch.entropy_TL) <= math.log(EXPERTS)).all()


def test_a_generation_is_routed_as_reading_the_same_text(model: ForeignModel) -> None:
    settings = GenerationSettings(4, seed=0, temperature=0.0)
    generated, read = Sink(), Sink()
    capture_generation(model, DOCUMENTS[:1], generated, settings=settings)
    [written] = generated.batches
    assert written.phase_T.tolist() == [PREFILL] * 5 + [DECODE] * 3
    text = written.documents[0].text
    assert text.startswith("hello")
    assert len(text) == 9
    capture_documents(model, [Document(doc_id=0, text=text[:-1])], read)
    assert (written.expert_ids_TLK == read.batches[0].expert_ids_TLK).all()
    np.testing.assert_allclose(written.loss_T, read.batches[0].loss_T, rtol=1e-4)


def test_a_completion_is_what_the_likeliest_letters_are(model: ForeignModel) -> None:
    text = "abc"
    for _ in range(3):
        logits_V = model.logits(torch.tensor([[START, *letters(model, text)]]))[0, -1]
        text += model.decode([int(logits_V.argmax())])
    assert complete(model, "abc", stops=(), max_new_tokens=3).text == text[3:]


def test_losses_under_interventions_are_those_of_texts_read_alone(model: ForeignModel) -> None:
    encoded = list(encoded_documents(model, DOCUMENTS))
    changes = {
        "masked": lambda: masked(model, {0: [3], 1: [1]}),
        "forced": lambda: forced(model, {1: [0]}),
        "most": lambda: activated(model, EXPERTS),
        "top": lambda: masked_top(model, 2),
        "scaled": lambda: scaled(model, {0: [0, 1, 2, 3]}, factor=0.5),
    }
    losses = document_losses(model, encoded, changes)
    baseline_N = [float(read_alone(model, text)[1].sum()) for text in TEXTS]
    np.testing.assert_allclose(losses.nats_VN[0], baseline_N, rtol=1e-4)
    for row, (name, change) in enumerate(changes.items(), start=1):
        with change():
            changed_N = [float(read_alone(model, text)[1].sum()) for text in TEXTS]
        np.testing.assert_allclose(losses.nats_VN[row], changed_N, rtol=1e-4)
        assert not np.allclose(losses.nats_VN[row], baseline_N), name


def test_a_masked_expert_is_replaced_by_what_the_rule_prefers(model: ForeignModel) -> None:
    probability_TE, _, before_TK = model.moe_layers()[0].gate(torch.ones(1, 6))
    gone = int(before_TK[0, 0])
    with masked(model, {0: [gone]}):
        _, weights_TK, ids_TK = model.moe_layers()[0].gate(torch.ones(1, 6))
    preference_E = probability_TE[0] + torch.tensor([0, 0.1, 0, 0.2])
    preference_E[gone] = -1
    assert set(ids_TK[0].tolist()) == set(preference_E.topk(2).indices.tolist())
    assert torch.equal(weights_TK, probability_TE.gather(-1, ids_TK))


def test_it_has_no_shared_experts_to_leave_out(model: ForeignModel) -> None:
    with pytest.raises(ValueError, match="without shared experts"), without_shared(model):
        pass


def test_likelihoods_are_its_own(model: ForeignModel) -> None:
    windows = text_windows(model, letters(model, "hello"))
    [likelihood] = log_likelihoods(model, windows)
    assert likelihood.nats == pytest.approx(-float(read_alone(model, "hello")[1].sum()), rel=1e-4)
    choices = choice_log_likelihoods(model, [("he", ["llo", "zzz"])], places=["t:1"])
    [nats_C] = choices.nats_QC
    for nats, text in zip(nats_C, ("hello", "hezzz"), strict=True):
        assert nats == pytest.approx(-float(read_alone(model, text)[1][2:].sum()), rel=1e-4)


def test_what_every_expert_gives_is_what_the_layer_mixes(model: ForeignModel) -> None:
    encoded = list(encoded_documents(model, DOCUMENTS[:1]))
    [(document_T, layers)] = expert_inputs(model, encoded)
    assert document_T.tolist() == [0] * 5
    for layer, (x_TD, ids_TK, weights_TK) in zip(model.moe_layers(), layers, strict=True):
        outputs_ETD = expert_outputs(layer, x_TD)
        chosen_TKD = outputs_ETD[ids_TK, torch.arange(5)[:, None]]
        mixed_TD = (chosen_TKD * weights_TK.unsqueeze(-1)).sum(1)
        with torch.inference_mode():
            expected_TD = layer.experts(x_TD, top_index=ids_TK, top_weight=weights_TK)
        torch.testing.assert_close(mixed_TD, expected_TD, rtol=1e-4, atol=1e-5)


def test_no_hook_is_left(model: ForeignModel) -> None:
    with recorded_routing(model), masked(model, {0: [0]}):
        pass
    for module in model.sums.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
