import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.pieces import pieces
from data.routing import DECODE, PREFILL, CancelledError, Document, RoutingBatch, concatenated
from model.capture import (
    START_TOKEN_ID,
    Captured,
    capture_documents,
    capture_generation,
    continuation_pieces,
)
from model.encoded import Encoded, batches, windows
from model.moe import MoE
from model.recording import margin, recorded_routing
from model.transformer import Transformer
from tests.models import small_config, small_router

TEXTS = ["abcd", "a", "bcabcab", "dd", "cabdacbd", "b"]


class Batches:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.written: list[RoutingBatch] = []

    def write(self, batch: RoutingBatch) -> None:
        self.written.append(batch)

    def joined(self) -> RoutingBatch:
        return concatenated(self.written)


def encode(texts: list[str]) -> list[tuple[list[int], list[str]]]:
    """A token a character: a is 1, b is 2."""
    return [([ord(character) - 96 for character in text], list(text)) for text in texts]


def decode(token_ids: list[int]) -> str:
    return "".join(chr(96 + token_id) for token_id in token_ids)


@pytest.fixture
def model() -> Transformer:
    built = Transformer(small_config())
    built.initialize(seed=1)
    for layer in built.moe_layers():  # decided gates: no near ties
        nn.init.normal_(layer.gate.weight_ED, std=1.0, generator=torch.manual_seed(2))
    return built.eval()


def documents(texts: list[str]) -> list[Document]:
    return [Document(doc_id=doc_id, text=text) for doc_id, text in enumerate(texts)]


def captured(model: Transformer, texts: list[str], **options: int) -> RoutingBatch:
    sink = Batches()
    capture_documents(model, encode, documents(texts), sink, **options)
    return sink.joined()


def routed_by(router: str, **changes: object) -> Transformer:
    built = Transformer(small_router(router, **changes))
    built.initialize(seed=1)
    return built.eval()


# other gates


def executed(model: Transformer, token_ids: list[int]) -> list[Tensor]:
    """(expert_ids_TK, weights_TK) that reached the experts of each layer."""
    seen: list[Tensor] = []
    hooks = [
        layer.experts.register_forward_pre_hook(lambda module, given: seen.extend(given[1:]))
        for layer in model.moe_layers()
    ]
    with torch.inference_mode():
        model(torch.tensor([[START_TOKEN_ID, *token_ids]]))
    for hook in hooks:
        hook.remove()
    return [tensor[1:] for tensor in seen]


@pytest.mark.parametrize(
    ("router", "changes"),
    [
        ("softmax", {"expert_groups": 4, "groups_per_token": 2}),
        ("sigmoid", {"balancing": "bias", "expert_groups": 2, "groups_per_token": 1}),
        ("gshard", {}),
        ("switch", {}),
        ("hash", {}),
        ("dsr", {"top_k": 6, "min_k": 2, "top_p": 0.5}),
    ],
)
def test_every_gate_is_recorded_as_executed(router: str, changes: dict[str, object]):
    model = routed_by(router, **changes)
    found = captured(model, ["cabdacbd"])
    seen = executed(model, [3, 1, 2, 4, 1, 3, 2, 4])
    np.testing.assert_array_equal(found.expert_ids_TLK, torch.stack(seen[::2], 1).numpy())
    np.testing.assert_array_equal(found.weights_TLK, torch.stack(seen[1::2], 1).numpy())
    assert found.dropped_ids_TLK is None


def test_the_number_of_experts_may_differ_from_token_to_token():
    model = routed_by("dsr", top_k=8, min_k=1, top_p=0.5, init_std=1.0)
    found = captured(model, ["cabdacbd"])
    k_TL = (found.expert_ids_TLK >= 0).sum(-1)
    assert 1 <= k_TL.min() < k_TL.max() <= 8
    reached_TL = found.weights_TLK.sum(-1)
    assert (reached_TL >= 0.5 - 1e-6).all()
    assert found.margin_TL is not None
    assert (found.margin_TL[k_TL < 8] >= 0).all()


def test_a_hash_has_neither_entropy_nor_margin():
    found = captured(routed_by("hash"), ["ab"])
    assert np.isnan(found.entropy_TL).all()
    assert np.isnan(found.margin_TL).all()
    assert not np.isnan(found.loss_T).any()


def test_a_choice_that_is_refused_is_recorded_as_dropped_and_not_as_executed():
    model = routed_by("hash", capacity_factor=0.5)  # 16 tokens on 8 experts: one each
    found = captured(model, ["aabab", "b"])
    a, b = (model.moe_layers()[0].gate.expert_of_token_V[i].item() for i in (1, 2))
    assert a != b
    assert found.expert_ids_TLK[:, 0, 0].tolist() == [a, -1, b, -1, -1, b]
    assert found.dropped_ids_TLK[:, 0, 0].tolist() == [-1, a, -1, a, b, -1]
    np.testing.assert_array_equal(found.expert_ids_TLK[:, 0], found.expert_ids_TLK[:, 1])


def test_what_is_dropped_does_not_depend_on_the_batch():
    model = routed_by("gshard", capacity_factor=0.5)
    texts = ["aabbaaccaa", "a", "dcbaabcdab"]
    together, alone = captured(model, texts), captured(model, texts, batch_tokens=1)
    assert (together.dropped_ids_TLK != -1).any()
    np.testing.assert_array_equal(together.dropped_ids_TLK, alone.dropped_ids_TLK)
    np.testing.assert_array_equal(together.expert_ids_TLK, alone.expert_ids_TLK)


# one forward


class RoundRobinGate(nn.Module):
    """Token t goes to experts t and t + 1; scores 4, 3, 2, 1 in that order of preference."""

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first_T = torch.arange(len(x_TD))
        ids_TK = torch.stack([first_T, first_T + 1], dim=1) % 4
        preference_TE = (first_T[:, None] - torch.arange(4)) % 4
        logits_TE = torch.log(torch.tensor([4.0, 1.0, 2.0, 3.0]))[preference_TE]
        return logits_TE, torch.tensor([[0.4, 0.3]]).repeat(len(x_TD), 1), ids_TK


class NamedArguments(nn.Module):
    """A plain block that passes what is executed by name."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = RoundRobinGate()
        self.experts = Doubled()

    def forward(self, x_TD: Tensor) -> Tensor:
        _, weights_TK, ids_TK = self.gate(x_TD)
        return self.experts(x_TD, top_k_index=ids_TK, top_k_weights=weights_TK)


class Doubled(nn.Module):
    def forward(self, x_TD: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        return 2 * x_TD


def test_any_block_with_gate_and_experts_is_recorded():
    model = nn.Sequential(NamedArguments(), NamedArguments())
    with recorded_routing(model) as recording:
        model(torch.ones(3, 1))
        decisions = recording.take()
    assert decisions.expert_ids_TLK.tolist() == [[[t, (t + 1) % 4]] * 2 for t in range(3)]
    assert decisions.expert_ids_TLK.dtype == np.int16
    np.testing.assert_array_equal(decisions.weights_TLK[2, 1], np.float32([0.4, 0.3]))
    entropy = -sum(p * math.log(p) for p in (0.4, 0.3, 0.2, 0.1))
    np.testing.assert_allclose(decisions.entropy_TL, entropy, rtol=1e-6)
    np.testing.assert_allclose(decisions.margin_TL, 0.3 - 0.2, rtol=1e-5)


def test_margin_counts_the_bias_and_is_unknown_when_nothing_was_rejected():
    scores_TE = torch.tensor([[0.5, 0.3, 0.2]])
    assert margin(scores_TE, torch.tensor([[0, 1]])).item() == pytest.approx(0.1)
    bias_E = torch.tensor([0.0, 0.0, 0.4])
    assert margin(scores_TE + bias_E, torch.tensor([[2, 0]])).item() == pytest.approx(0.2)
    assert margin(scores_TE, torch.tensor([[0, 1, 2]])).isnan().item()


def test_sigmoid_scores_count_as_shares_of_their_sum():
    block = NamedArguments()
    block.gate.scores = lambda logits_TE: torch.full_like(logits_TE, 0.9)
    with recorded_routing(block) as recording:
        block(torch.ones(1, 1))
        assert recording.take().entropy_TL.item() == pytest.approx(math.log(4))


def test_choices_are_ranked_by_weight():
    block = NamedArguments()
    block.gate.register_forward_hook(
        lambda module, arguments, output: (*output[:1], output[1].flip(1), output[2])
    )
    with recorded_routing(block) as recording:
        block(torch.ones(2, 1))
        decisions = recording.take()
    assert decisions.expert_ids_TLK.tolist() == [[[1, 0]], [[2, 1]]]
    np.testing.assert_array_equal(decisions.weights_TLK[0, 0], np.float32([0.4, 0.3]))


def test_recording_leaves_outputs_unchanged_and_no_hook_behind(model: Transformer):
    ids_BS = torch.tensor([[0, 1, 2, 3]])
    plain = model(ids_BS)

    def fail_while_recording() -> None:
        with recorded_routing(model) as recording:
            assert torch.equal(model(ids_BS), plain)
            assert recording.take().expert_ids_TLK.shape == (4, 2, 2)
            raise KeyError

    with pytest.raises(KeyError):
        fail_while_recording()
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_each_hand_over_needs_its_own_forward(model: Transformer):
    with recorded_routing(model) as recording:
        model(torch.tensor([[0, 1]]))
        recording.take()
        with pytest.raises(ValueError, match="0 of 2 MoE layers ran"):
            recording.take()


def test_a_model_without_experts_is_refused():
    with pytest.raises(ValueError, match="no MoE layer"), recorded_routing(nn.Linear(2, 2)):
        pass


def test_bias_balanced_choices_are_stored_as_executed():
    model = Transformer(replace(small_config(), balancing="bias"))
    model.initialize(seed=1)
    for layer in model.moe_layers():
        layer.gate.bias_E += torch.arange(8).float()  # the last experts always win
    batch = captured(model.eval(), TEXTS)
    assert set(batch.expert_ids_TLK.flatten().tolist()) == {6, 7}
    assert (np.diff(batch.weights_TLK, axis=-1) <= 0).all()
    assert (batch.margin_TL >= 0).all()


# documents


@torch.inference_mode()
def reference_experts(layer: MoE, x_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """A plain loop over tokens and choices."""
    rows = []
    for x_D, ids_K, weights_K in zip(x_TD, ids_TK, weights_TK, strict=True):
        total_D = torch.zeros_like(x_D)
        for expert, weight in zip(ids_K.tolist(), weights_K, strict=True):
            gate, up = (x_D @ layer.experts.gate_up_EDF[expert]).chunk(2)
            total_D += weight * ((F.silu(gate) * up) @ layer.experts.down_EFD[expert])
        rows.append(total_D)
    return torch.stack(rows)


def test_what_is_stored_replays_to_the_output_of_the_layer(model: Transformer):
    seen: list[tuple[Tensor, ...]] = []
    for layer in model.moe_layers():
        layer.experts.register_forward_hook(
            lambda module, arguments, output: seen.append((*arguments, output))
        )
    batch = captured(model, ["abcdabca"])
    for layer_id, (layer, (x_TD, ids_TK, weights_TK, output_TD)) in enumerate(
        zip(model.moe_layers(), seen, strict=True)
    ):
        stored_ids_TK = torch.from_numpy(batch.expert_ids_TLK[:, layer_id].astype(np.int64))
        stored_weights_TK = torch.from_numpy(batch.weights_TLK[:, layer_id])
        assert torch.equal(stored_ids_TK, ids_TK[1:])  # without the start token
        assert torch.equal(stored_weights_TK, weights_TK[1:])
        replayed_TD = reference_experts(layer, x_TD[1:], stored_ids_TK, stored_weights_TK)
        torch.testing.assert_close(replayed_TD, output_TD[1:], rtol=1e-5, atol=1e-6)


def test_padding_never_enters_and_documents_keep_their_order(model: Transformer):
    together = captured(model, TEXTS, batch_tokens=12)
    alone = concatenated([captured(model, [text]) for text in TEXTS])
    assert together.doc_id_T.tolist() == [i for i, text in enumerate(TEXTS) for _ in text]
    assert together.position_T.tolist() == alone.position_T.tolist()
    assert "".join(together.token_text_T) == "".join(TEXTS)
    assert [document.text for document in together.documents] == TEXTS
    assert (together.expert_ids_TLK == alone.expert_ids_TLK).all()
    np.testing.assert_allclose(together.weights_TLK, alone.weights_TLK, rtol=1e-4)
    np.testing.assert_allclose(together.loss_T, alone.loss_T, rtol=1e-4)
    assert (together.phase_T == PREFILL).all()


def test_every_token_has_the_loss_that_the_model_gives_it(model: Transformer):
    batch = captured(model, ["abc"])
    logits_SV = model(torch.tensor([[START_TOKEN_ID, 1, 2, 3]]))[0]
    expected = F.cross_entropy(logits_SV[:-1], torch.tensor([1, 2, 3]), reduction="none")
    np.testing.assert_allclose(batch.loss_T, expected.detach().numpy(), rtol=1e-5)


def test_a_document_beyond_the_context_is_cut_and_counted(model: Transformer):
    sink = Batches()
    done = capture_documents(model, encode, documents(["abcd" * 10, "ab"]), sink)
    batch = sink.joined()
    assert (batch.doc_id_T == 0).sum() == 15  # a context of 16, one for the start token
    assert [document.truncated_tokens for document in batch.documents] == [25, 0]
    assert batch.documents[0].text == "abcd" * 10
    assert done == Captured(documents=2, tokens=17, truncated_documents=1, truncated_tokens=25)


def test_stored_documents_are_skipped(model: Transformer):
    sink = Batches()
    capture_documents(model, encode, documents(TEXTS), sink, stored={0, 2})
    assert [document.doc_id for document in sink.joined().documents] == [1, 3, 4, 5]


def test_cancelling_stops_between_batches(model: Transformer):
    sink, progress = Batches(), []
    with pytest.raises(CancelledError):
        capture_documents(
            model,
            encode,
            documents(["abcabc"] * 40),
            sink,
            batch_tokens=7,  # one document a batch, ten a window
            on_progress=lambda tokens, done: progress.append((tokens, done)),
            cancelled=lambda: len(progress) == 25,
        )
    assert progress[:3] == [(6, 1), (12, 2), (18, 3)]
    assert len(progress) == 25
    whole = [document.doc_id for batch in sink.written for document in batch.documents]
    assert whole == list(range(20))


def test_windows_and_batches_hold_every_document_once():
    encoded = [
        Encoded(Document(doc_id=i, text=text), *encode([text])[0]) for i, text in enumerate(TEXTS)
    ]
    groups = list(windows(encoded, tokens=10))
    assert [[item.document.doc_id for item in group] for group in groups] == [
        [0, 1, 2],
        [3, 4],
        [5],
    ]
    assert list(batches(encoded, tokens=9)) == [[1, 5, 3], [0], [2], [4]]


# generation


def test_generation_records_prompt_and_continuation(model: Transformer):
    sink = Batches()
    done = capture_generation(
        model,
        encode,
        decode,
        documents(["abc"]),
        sink,
        max_new_tokens=4,
        temperature=1.0,
        top_p=0.9,
        seed=3,
    )
    batch = sink.joined()
    assert done.tokens == 6  # three of the prompt, three fed back: the last is never routed
    assert batch.phase_T.tolist() == [PREFILL] * 3 + [DECODE] * 3
    text = batch.documents[0].text
    assert text.startswith("abc")
    assert len(text) == 7
    assert "".join(batch.token_text_T) == text[:-1]


def test_generation_is_routed_as_reading_the_same_text(model: Transformer):
    sink = Batches()
    capture_generation(
        model,
        encode,
        decode,
        documents(["abc", "b"]),
        sink,
        max_new_tokens=5,
        temperature=0,
        top_p=1.0,
        seed=0,
    )
    generated = sink.joined()
    read = captured(model, [document.text[:-1] for document in generated.documents])
    assert (generated.token_id_T == read.token_id_T).all()
    assert (generated.expert_ids_TLK == read.expert_ids_TLK).all()
    np.testing.assert_allclose(generated.weights_TLK, read.weights_TLK, rtol=1e-4)
    np.testing.assert_allclose(generated.loss_T, read.loss_T, rtol=1e-4)
    np.testing.assert_allclose(generated.entropy_TL, read.entropy_TL, rtol=1e-4)


def test_a_prompt_leaves_room_for_its_continuation(model: Transformer):
    sink = Batches()
    options = {"temperature": 0.0, "top_p": 1.0, "seed": 0}
    done = capture_generation(
        model, encode, decode, documents(["ab" * 10]), sink, max_new_tokens=5, **options
    )
    assert done.truncated_tokens == 10
    assert len(sink.joined().documents[0].text) == 15
    with pytest.raises(
        ValueError, match=r"15 new tokens do not fit .* context of 16; ask for 1 to 14"
    ):
        capture_generation(
            model, encode, decode, documents(["a"]), sink, max_new_tokens=15, **options
        )


# pieces of text


def test_pieces_join_to_the_text():
    assert pieces("a bc", [(0, 1), (1, 3), (3, 4)]) == ["a", " b", "c"]
    assert pieces("é!", [(0, 1), (0, 1), (1, 2)]) == ["", "é", "!"]  # two tokens, one character
    assert pieces("", []) == []


def test_a_generated_character_comes_with_its_last_byte():
    def decode_bytes(token_ids: list[int]) -> str:
        return bytes(token_ids).decode(errors="replace")

    assert continuation_pieces(list("aé😀".encode()), decode_bytes) == [
        "a",
        "",
        "é",
        "",
        "",
        "",
        "😀",
    ]
    broken = continuation_pieces([0xC3, 0x41, 0xF0], decode_bytes)
    assert broken == ["", "\ufffdA", ""]
