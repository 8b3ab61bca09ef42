"""Documents and continuations that a model reads into a sink."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data.routing import DECODE, PREFILL, CancelledError, RoutingBatch, concatenated
from model.capture import (
    Captured,
    capture_documents,
    forward,
)
from model.capture_generation import capture_generation
from model.pieces import continuation_pieces
from model.readable import GenerationSettings
from model.transformer import Transformer
from tests.model.captures import TEXTS, Batches, captured, documents, known
from tests.model.expert_loop import loop_over_experts
from tests.readable import readable

START = 0


def test_what_is_stored_replays_to_the_output_of_the_layer(model: Transformer) -> None:
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
        with torch.inference_mode():
            replayed_TD = loop_over_experts(
                layer.experts, x_TD[1:], stored_ids_TK, stored_weights_TK
            )
        torch.testing.assert_close(replayed_TD, output_TD[1:], rtol=1e-5, atol=1e-6)


def test_padding_never_enters_and_documents_keep_their_order(model: Transformer) -> None:
    together = captured(model, TEXTS, batch_tokens=12)
    alone = concatenated([captured(model, [text]) for text in TEXTS])
    assert together.doc_id_T.tolist() == [i for i, text in enumerate(TEXTS) for _ in text]
    assert together.position_T.tolist() == alone.position_T.tolist()
    assert "".join(map(str, together.token_text_T)) == "".join(TEXTS)
    assert [document.text for document in together.documents] == TEXTS
    assert (together.expert_ids_TLK == alone.expert_ids_TLK).all()
    np.testing.assert_allclose(together.weights_TLK, alone.weights_TLK, rtol=1e-4)
    np.testing.assert_allclose(together.loss_T, alone.loss_T, rtol=1e-4)
    assert (together.phase_T == PREFILL).all()


def test_every_token_has_the_loss_that_the_model_gives_it(model: Transformer) -> None:
    batch = captured(model, ["abc"])
    logits_SV = model(torch.tensor([[START, 1, 2, 3]]))[0]
    expected = F.cross_entropy(logits_SV[:-1], torch.tensor([1, 2, 3]), reduction="none")
    np.testing.assert_allclose(batch.loss_T, expected.detach().numpy(), rtol=1e-5)


def test_a_document_beyond_the_context_is_cut_and_counted(model: Transformer) -> None:
    sink = Batches()
    done = capture_documents(readable(model), documents(["abcd" * 10, "ab"]), sink)
    batch = sink.joined()
    assert (batch.doc_id_T == 0).sum() == 15  # a context of 16, one for the start token
    assert [document.truncated_tokens for document in batch.documents] == [25, 0]
    assert batch.documents[0].text == "abcd" * 10
    assert done == Captured(documents=2, tokens=17, truncated_documents=1, truncated_tokens=25)


def test_stored_documents_are_skipped(model: Transformer) -> None:
    sink = Batches()
    capture_documents(readable(model), documents(TEXTS), sink, stored={0, 2})
    assert [document.doc_id for document in sink.joined().documents] == [1, 3, 4, 5]


def test_cancelling_stops_between_batches(model: Transformer) -> None:
    sink, progress = Batches(), []
    with pytest.raises(CancelledError):
        capture_documents(
            readable(model),
            documents(["abcabc"] * 40),
            sink,
            batch_tokens=7,  # one document a batch, ten a window
            on_progress=lambda tokens, done: progress.append((tokens, done)),
            cancelled=lambda: len(progress) == 25,
        )
    assert progress[:3] == [(6, 1), (12, 2), (18, 3)]
    assert len(progress) == 25
    whole = [document.doc_id for batch in sink.written for document in batch.documents]
    assert whole == list(range(25))


def test_a_slow_model_hands_over_what_it_has(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_windows = captured(model, TEXTS, batch_tokens=12)
    monkeypatch.setattr("model.capture.HAND_OVER_SECONDS", 0.0)
    sink = Batches()
    capture_documents(readable(model), documents(TEXTS), sink, batch_tokens=12)
    assert len(sink.written) > 1
    at_once = sink.joined()
    order = np.argsort(at_once.doc_id_T, kind="stable")
    assert at_once.doc_id_T[order].tolist() == in_windows.doc_id_T.tolist()
    assert (at_once.expert_ids_TLK[order] == in_windows.expert_ids_TLK).all()
    assert (at_once.weights_TLK[order] == in_windows.weights_TLK).all()


class Interrupted(Batches):
    """As when Ctrl-C comes while the writer is behind: the first batch is not taken."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False

    def write(self, batch: RoutingBatch) -> None:
        if not self.asked:
            self.asked = True
            raise KeyboardInterrupt
        super().write(batch)


def test_an_interruption_while_handing_over_loses_nothing(model: Transformer) -> None:
    sink = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        capture_documents(readable(model), documents(["abcabc"] * 15), sink, batch_tokens=7)
    assert [one.doc_id for one in sink.joined().documents] == list(range(8))  # a window


def test_an_error_of_the_model_keeps_what_was_read(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, forwards = Batches(), []

    def fail_at_the_third(*given: object) -> object:
        forwards.append(given)
        if len(forwards) == 3:
            raise MemoryError
        return forward(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("model.capture.forward", fail_at_the_third)
    with pytest.raises(MemoryError):
        capture_documents(readable(model), documents(["abcabc"] * 15), sink, batch_tokens=7)
    assert [one.doc_id for one in sink.joined().documents] == [0, 1]


def test_generation_records_prompt_and_continuation(model: Transformer) -> None:
    sink = Batches()
    done = capture_generation(
        readable(model),
        documents(["abc"]),
        sink,
        settings=GenerationSettings(4, seed=3, temperature=1.0, top_p=0.9),
    )
    batch = sink.joined()
    assert done.tokens == 6  # three of the prompt, three fed back: the last is never routed
    assert batch.phase_T.tolist() == [PREFILL] * 3 + [DECODE] * 3
    text = batch.documents[0].text
    assert text.startswith("abc")
    assert len(text) == 7
    assert "".join(map(str, batch.token_text_T)) == text[:-1]


def test_generation_is_routed_as_reading_the_same_text(model: Transformer) -> None:
    sink = Batches()
    capture_generation(
        readable(model),
        documents(["abc", "b"]),
        sink,
        settings=GenerationSettings(5, seed=0, temperature=0),
    )
    generated = sink.joined()
    read = captured(model, [document.text[:-1] for document in generated.documents])
    assert (generated.token_id_T == read.token_id_T).all()
    assert (generated.expert_ids_TLK == read.expert_ids_TLK).all()
    np.testing.assert_allclose(generated.weights_TLK, read.weights_TLK, rtol=1e-4)
    np.testing.assert_allclose(generated.loss_T, read.loss_T, rtol=1e-4)
    np.testing.assert_allclose(known(generated.entropy_TL), known(read.entropy_TL), rtol=1e-4)


def test_a_prompt_leaves_room_for_its_continuation(model: Transformer) -> None:
    sink = Batches()
    generate = partial(capture_generation, readable(model))
    settings = GenerationSettings(5, seed=0, temperature=0)
    done = generate(documents(["ab" * 10]), sink, settings=settings)
    assert done.truncated_tokens == 10
    assert len(sink.joined().documents[0].text) == 15
    with pytest.raises(
        ValueError, match=r"15 new tokens do not fit .* context of 16; ask for 1 to 14"
    ):
        generate(documents(["a"]), sink, settings=settings._replace(max_new_tokens=15))


def test_a_generation_that_is_enough_ends_with_what_there_is(model: Transformer) -> None:
    sink, steps = Batches(), list[int]()
    done = capture_generation(
        readable(model),
        documents(["abc", "b"]),
        sink,
        settings=GenerationSettings(9, seed=0, temperature=0),
        on_step=lambda told: steps.append(told.tokens),
        enough=lambda: len(steps) == 3,
    )
    assert steps == [4, 5, 6]
    assert (done.documents, done.tokens) == (1, 5)  # the token sampled last has no row
    assert len(sink.joined().documents[0].text) == 6


def test_where_nothing_more_is_wanted_one_token_is_there(model: Transformer) -> None:
    sink = Batches()
    done = capture_generation(
        readable(model),
        documents(["abc", "b"]),
        sink,
        settings=GenerationSettings(9, seed=0, temperature=0),
        enough=lambda: True,
    )
    assert (done.documents, done.tokens) == (1, 3)
    assert len(sink.joined().documents[0].text) == 4


def test_a_generated_character_comes_with_its_last_byte() -> None:
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
