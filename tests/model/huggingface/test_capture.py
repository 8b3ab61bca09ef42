"""Texts through models of transformers into a sink."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM

from data.routing import DECODE, PREFILL, Document, RoutingBatch
from model import recording
from model.ablation import document_losses
from model.capture import capture_documents
from model.capture_generation import capture_generation
from model.huggingface.loading import load_huggingface
from model.huggingface.model import HuggingFaceModel
from model.likelihood import Sequenced, log_likelihoods
from model.readable import GenerationSettings
from model.recording import recorded_routing
from tests.families.tiny import tiny
from tests.model.captures import Batches, known
from tests.model.huggingface.conftest import Loaded
from tests.model.huggingface.folders import FAMILIES, SPECIAL, byte_tokenizer
from tests.model.huggingface.replay import passing, worst_error

TEXTS = ["The cat sat on the mat.", "naïve 猫 🏳️\u200d🌈 <s> x", "1", "def f(x):\n    return x"]


def documents(texts: list[str] = TEXTS) -> list[Document]:
    return [Document(doc_id=number, text=text) for number, text in enumerate(texts)]


def captured(model: HuggingFaceModel, texts: list[str] = TEXTS, **options: Any) -> RoutingBatch:
    sink = Batches()
    capture_documents(model, documents(texts), sink, **options)
    return sink.joined()


def of_document(batch: RoutingBatch, doc_id: int) -> RoutingBatch:
    rows = batch.doc_id_T == doc_id
    return replace(
        batch,
        **{
            name: value[rows]
            for name, value in vars_of(batch).items()
            if isinstance(value, np.ndarray)
        },
        token_text_T=[x for x, own in zip(batch.token_text_T, rows, strict=True) if own],
        special_T=None,
        documents=(),
    )


def vars_of(batch: RoutingBatch) -> dict[str, Any]:
    return {name: getattr(batch, name) for name in batch.__dataclass_fields__}


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3", "switch_transformers", "qwen3_next"])
def test_pieces_join_to_the_texts_and_special_tokens_are_named(loaded: Loaded, name: str) -> None:
    batch = captured(loaded(name))
    for document in batch.documents:
        pieces = of_document(batch, document.doc_id).token_text_T
        assert "".join(map(str, pieces)) == document.text
    assert batch.special_T is not None
    first = batch.position_T == 0
    assert [x for x, own in zip(batch.special_T, first, strict=True) if own] == ["<s>"] * 4
    assert [x for x, own in zip(batch.special_T, first, strict=True) if not own and x] == []
    assert (batch.token_id_T[first] == SPECIAL["<s>"]).all()
    if name != "switch_transformers":
        assert (np.isnan(batch.loss_T) == first).all()


@pytest.mark.parametrize(
    "name", ["mixtral", "deepseek_v2", "deepseek_v3", "gpt_oss", "jetmoe", "gemma4"]
)
def test_layers_read_at_once_as_on_a_gpu_are_those_read_one_by_one(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, name: str
) -> None:
    model = loaded(name)
    one_by_one = captured(model)
    monkeypatch.setitem(recording.AT_ONCE, "cpu", 2**20)
    groups: list[list[list[int]]] = []
    grouped = recording.Recording._groups
    monkeypatch.setattr(
        recording.Recording,
        "_groups",
        lambda one: groups.append(grouped(one)) or groups[-1],  # type: ignore[func-returns-value]
    )
    at_once = captured(model)
    layers = len(model.moe_layers())
    assert len(groups[0]) == (layers if name == "gemma4" else 1)  # its experts have factors
    for field, value in vars_of(one_by_one).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(at_once, field), value, err_msg=field)


@pytest.mark.parametrize(
    "name", ["mixtral", "deepseek_v3", "qwen3_next", "jetmoe", "nllb_moe", "doge"]
)
def test_a_text_is_routed_alike_whatever_is_read_beside_it(loaded: Loaded, name: str) -> None:
    together = captured(loaded(name))
    for document in together.documents:
        alone = captured(loaded(name), [document.text])
        among = of_document(together, document.doc_id)
        assert (among.expert_ids_TLK == alone.expert_ids_TLK).all()
        np.testing.assert_allclose(among.weights_TLK, alone.weights_TLK, atol=1e-5)
        np.testing.assert_allclose(among.loss_T, alone.loss_T, rtol=1e-4)  # NaN beside NaN


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3", "qwen3_next", "kimi_linear", "zaya"])
def test_a_long_text_in_parts_is_routed_as_in_one(
    loaded: Loaded, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(name)
    whole = captured(model, [TEXTS[0] * 3])
    monkeypatch.setattr("model.huggingface.model.BATCH_TOKENS", {"cpu": 16})
    monkeypatch.setattr("model.huggingface.model.LEAST_TOKENS", 16)
    assert model.batch_tokens == 16
    parts = captured(model, [TEXTS[0] * 3])
    assert (parts.expert_ids_TLK == whole.expert_ids_TLK).all()
    np.testing.assert_allclose(parts.weights_TLK, whole.weights_TLK, atol=1e-5)
    np.testing.assert_allclose(parts.loss_T, whole.loss_T, rtol=1e-3)


def test_a_model_that_begins_anew_with_each_part_is_read_whole(loaded: Loaded) -> None:
    """Jamba's state-space layers take no state from before."""
    assert loaded("jamba").batch_tokens == 0
    assert loaded("mixtral").batch_tokens > 0


def test_a_text_is_read_alone_and_whole_where_parts_or_others_would_change_it(
    loaded: Loaded,
) -> None:
    """Of one the cache takes the second part for written text; the other turns positions by the
    longest text of a forward."""
    assert loaded("unlimited_ocr").batch_tokens == 0
    rope = {
        **{"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 128},
        **{"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "factor": 8.0},
    }
    module = tiny(FAMILIES["mixtral"])
    config = MixtralConfig.from_dict(
        module.config.to_dict() | {"rope_parameters": rope, "head_dim": 8}
    )
    longrope = MixtralForCausalLM(config).eval()
    longrope.load_state_dict(module.state_dict())
    model = HuggingFaceModel(longrope, byte_tokenizer())
    long, short = "ab" * 100, TEXTS[0]
    together, alone = captured(model, [long, short]), captured(model, [short])
    np.testing.assert_allclose(of_document(together, 1).loss_T, alone.loss_T, atol=1e-5)


@pytest.mark.parametrize("name", ["lfm2_moe", "deepseek_v3", "deepseek_v4", "olmoe"])
def test_selection_is_inferred_in_bfloat16_as_in_float32(name: str) -> None:
    module = tiny(FAMILIES[name])
    rules = []
    for dtype in (torch.float32, torch.bfloat16):
        model = HuggingFaceModel(module.to(dtype), byte_tokenizer())
        rules.append([layer.rule.selection for layer in model.moe_layers() if layer.rule])
    assert rules[0] == rules[1]


def test_what_is_beyond_the_context_is_cut_and_counted(loaded: Loaded) -> None:
    model, sink = loaded("mixtral"), Batches()
    done = capture_documents(model, documents(["ab" * 600]), sink)
    assert (done.truncated_documents, done.truncated_tokens) == (1, 1_201 - model.context_length)
    assert len(sink.joined().doc_id_T) == model.context_length


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3", "qwen3_next", "gpt_oss"])
def test_a_generation_is_routed_as_reading_its_text(loaded: Loaded, name: str) -> None:
    model, sink = loaded(name), Batches()
    settings = GenerationSettings(6, seed=0, temperature=0.0)
    capture_generation(model, documents(["The cat"]), sink, settings=settings)
    written = sink.joined()
    assert written.phase_T.tolist() == [PREFILL] * 8 + [DECODE] * 5
    with recorded_routing(model) as recording:
        model.route(torch.from_numpy(written.token_id_T.astype(np.int64))[None])
        read = recording.take()
    assert (written.expert_ids_TLK == read.expert_ids_TLK).all()
    np.testing.assert_allclose(written.weights_TLK, read.weights_TLK, atol=1e-5)
    np.testing.assert_allclose(known(written.entropy_TL), read.entropy_TL, atol=1e-4)


def test_a_generation_ends_when_it_is_enough_and_the_model_is_as_before(loaded: Loaded) -> None:
    model, sink, steps = loaded("mixtral"), Batches(), list[int]()
    done = capture_generation(
        model,
        documents(["The cat", "b"]),
        sink,
        settings=GenerationSettings(6, seed=0, temperature=0.0),
        on_step=lambda told: steps.append(told.tokens),
        enough=lambda: len(steps) == 2,
    )
    assert (done.documents, done.tokens) == (1, 9)  # 8 of the prompt, and one that was read on
    again = Batches()
    capture_generation(
        model,
        documents(["The cat"]),
        again,
        settings=GenerationSettings(6, seed=0, temperature=0.0),
    )
    whole = again.joined().token_id_T
    assert len(whole) == 13
    assert (sink.joined().token_id_T == whole[:9]).all()


def test_a_generation_follows_the_settings_that_the_model_comes_with(loaded: Loaded) -> None:
    model = HuggingFaceModel(tiny(FAMILIES["mixtral"]), byte_tokenizer())
    model.module.generation_config.update(do_sample=True, top_k=1)  # so always the likeliest
    texts = []
    for settings in (GenerationSettings(5, seed=1), GenerationSettings(5, seed=9, temperature=0.0)):
        sink = Batches()
        capture_generation(model, documents(["abc"]), sink, settings=settings)
        texts.append(sink.joined().token_id_T.tolist())
    assert texts[0] == texts[1]


def test_how_generate_computes_is_not_the_models_to_say() -> None:
    model = HuggingFaceModel(tiny(FAMILIES["mixtral"]), byte_tokenizer())
    texts = []
    for changes in (
        {},
        {"cache_implementation": "quantized", "is_assistant": True, "max_time": 1e-9},
        {"eos_token_id": [], "guidance_scale": 3.0, "num_beams": 4, "assistant_early_exit": 1},
    ):
        model.module.generation_config.__dict__.update(changes)
        sink, settings = Batches(), GenerationSettings(5, seed=1, temperature=0.0)
        capture_generation(model, documents(["abc"]), sink, settings=settings)
        texts.append(sink.joined().token_id_T.tolist())
    assert texts[0] == texts[1] == texts[2]
    model.module.generation_config.top_p = "x"
    settings = GenerationSettings(5, seed=1, temperature=1.0)
    with pytest.raises(ValueError, match=r"^generation_config\.json cannot be used: [^\n]+$"):
        capture_generation(model, documents(["abc"]), Batches(), settings=settings)


def test_a_chat_is_read_in_the_template_with_its_special_tokens() -> None:
    model = HuggingFaceModel(tiny(FAMILIES["mixtral"]), byte_tokenizer(), chat=True)
    batch = captured(model, ["hi"])
    assert batch.documents[0].text == "<user>hi\n<answer>"
    assert batch.special_T == ["<user>", None, None, None, "<answer>"]
    assert batch.token_text_T == ["<user>", "h", "i", "\n", "<answer>"]


def test_two_stacks_are_both_recorded_and_named(loaded: Loaded) -> None:
    model = loaded("switch_transformers")
    names = [layer.name.split(".")[0] for layer in model.moe_layers()]
    assert names == ["encoder", "decoder"]
    assert np.isnan(captured(model).loss_T).all()  # the encoder has read what the decoder writes
    with pytest.raises(ValueError, match="a text has no loss under it"):
        log_likelihoods(model, [Sequenced([1, 2, 3], 1)])
    with pytest.raises(ValueError, match="a text has no loss under it"):
        document_losses(model, [], {})
    settings = GenerationSettings(3, seed=0)
    with pytest.raises(ValueError, match="leave out --generate"):
        capture_generation(model, documents(["a"]), Batches(), settings=settings)


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "llama4"])
def test_a_capture_replays_in_bfloat16_too(name: str) -> None:
    """To the precision of the weights of the sum."""
    module = tiny(FAMILIES[name]).bfloat16()
    model = HuggingFaceModel(module, byte_tokenizer())
    layers = list(model.moe_layers())
    ids_BS = torch.tensor([model.read([TEXTS[0]])[0].token_ids])
    with torch.no_grad(), recorded_routing(model) as recording, passing(layers) as passed:
        model.route(ids_BS)
        decisions = recording.take()
    for one in passed:
        one.given = [x.float() for x in one.given]
        one.came = [x.float() for x in one.came]
    module.float()
    assert decisions.explained_TL.all()
    assert worst_error(layers, decisions, passed, np.arange(ids_BS.shape[1])) < 0.03


def test_a_description_says_nothing_of_where_the_files_lay(loaded: Loaded) -> None:
    """A trace is sent to others."""
    model = loaded("mixtral")
    folder = str(model.module.config._name_or_path)
    assert "/" in folder
    assert folder not in repr(model.description())


@pytest.mark.parametrize("tokens", [16, 100])
def test_likelihoods_of_a_long_text_are_those_of_it_whole(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    model = loaded("mixtral")
    ids = model.encode([TEXTS[0] * 2])[0][0]
    sequences = [Sequenced([2, *ids], 30), Sequenced([2, *ids], len(ids))]
    whole = log_likelihoods(model, sequences)
    monkeypatch.setattr("model.huggingface.model.BATCH_TOKENS", {"cpu": tokens})
    monkeypatch.setattr("model.huggingface.model.LEAST_TOKENS", 16)
    parts = log_likelihoods(model, sequences)
    np.testing.assert_allclose([one.nats for one in parts], [one.nats for one in whole], rtol=1e-4)


@pytest.mark.parametrize("width", [30, 31])
def test_experts_of_any_width_are_read(tmp_path: Path, width: int) -> None:
    """The usual way to compute them takes rows of multiples of 16 bytes alone."""
    config = tiny(FAMILIES["mixtral"]).config
    config.intermediate_size = width
    MixtralForCausalLM(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    sink = Batches()
    capture_documents(load_huggingface(tmp_path), documents(["two words"]), sink)
    assert len(sink.joined().doc_id_T) == 10
