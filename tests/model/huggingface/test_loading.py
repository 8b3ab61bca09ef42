"""What can be wrong with a folder: one line each, before anything of its size is made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from data.routing import Document
from model.capture import capture_documents
from model.fingerprint import model_sha256
from model.huggingface.folder import look_into
from model.huggingface.loading import load_huggingface
from tests.model.captures import Batches
from tests.model.huggingface.folders import byte_tokenizer

Change = Callable[[Path], None]


@pytest.fixture
def folder(folder_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """A Mixtral's, to be damaged."""
    return Path(shutil.copytree(folder_of("mixtral"), tmp_path / "model"))


def config(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def changed(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return changed


def tokens(change: Callable[[dict[str, int]], object]) -> Change:
    def changed(folder: Path) -> None:
        path = folder / "tokenizer.json"
        tokenizer = json.loads(path.read_text())
        change(tokenizer["model"]["vocab"])
        path.write_text(json.dumps(tokenizer))

    return changed


def remove(pattern: str) -> Change:
    def removed(folder: Path) -> None:
        for path in folder.glob(pattern):
            path.unlink()

    return removed


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def dense(folder: Path) -> None:
    sizes: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1}
    shutil.rmtree(folder)
    LlamaForCausalLM(LlamaConfig(vocab_size=384, intermediate_size=32, **sizes)).save_pretrained(
        folder
    )
    byte_tokenizer().save_pretrained(folder)


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1_000])


def of_shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {str(place): name for place, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def elsewhere(folder: Path) -> None:
    """The decoy has the name that is left without the way to it."""
    name = "model-00001-of-00001.safetensors"
    shutil.copy(folder / "model.safetensors", folder / name)
    shutil.move(folder / "model.safetensors", folder.parent / name)
    index = {"metadata": {}, "weight_map": {"any": f"../{name}"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


CASES: dict[str, tuple[Change, str]] = {
    "dense": (dense, r"\(llama\) is dense: it has no experts to capture"),
    "no config": (remove("config.json"), r"config\.json is missing"),
    "no weights": (remove("*.safetensors"), r"no weights in .*: model\.safetensors is missing"),
    "pickles": (pickled, r"pytorch_model\.bin, a format that can run code"),
    "no tokenizer": (remove("tokenizer*"), r"no tokenizer in .*: tokenizer\.json is missing"),
    "a shard is missing": (of_shards, r"lacks 1 of 2 weight shards, .* model-00002"),
    "cut short": (cut_short, r"model\.safetensors.* damaged|cannot be loaded"),
    "fewer layers": (config(num_hidden_layers=2), r"do not fit its config: \d+ unexpected"),
    "more layers": (config(num_hidden_layers=4), r"do not fit its config: \d+ missing"),
    "another width": (config(intermediate_size=64), r"cannot be loaded|do not fit its config"),
    "more experts": (
        config(num_local_experts=12),
        r"config: \d+ of another shape, such as .*down_proj \(\[8, 32, 32\], not \[12, 32, 32\]\)",
    ),
    "more chosen than there are": (config(num_experts_per_tok=99), r"cannot read a text: "),
    "none chosen": (config(num_experts_per_tok=0), r"cannot read a text: "),
    "a million layers": (config(num_hidden_layers=10**6), r"num_hidden_layers is 1,000,000"),
    "files elsewhere": (elsewhere, r"names a file outside of its folder: '\.\./model"),
    "an unknown family": (config(model_type="no_such"), r"config\.json cannot be used"),
    "remote code": (
        config(model_type="deepseek", auto_map={"AutoConfig": "configuration_deepseek.Config"}),
        r"\(deepseek\) runs only with code of its author, which is never run here",
    ),
    "no language model": (config(model_type="vit"), r"no language model's head"),
    "impossible sizes": (config(num_attention_heads=0), r"transformers cannot make this model"),
    "a router is missing": (
        weights(lambda tensors: [tensors.pop(n) for n in list(tensors) if "gate.weight" in n]),
        r"do not fit its config: 3 missing",
    ),
    "a small vocabulary": (config(vocab_size=200), r"has the token id 260, the model ids below"),
    "a token beyond the model": (
        tokens(lambda vocabulary: vocabulary.update({"~": 1_000})),
        r"has the token id 1,000, the model ids below 384",
    ),
    "an unknown quantization": (
        config(quantization_config={"quant_method": "zzz"}),
        r"are quantized by 'zzz', which transformers does not know",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_used_is_refused_in_one_line(name: str, folder: Path) -> None:
    change, message = CASES[name]
    change(folder)
    with pytest.raises(ValueError, match=message) as caught:
        load_huggingface(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


METHODS: dict[str, dict[str, Any]] = {
    "bitsandbytes": {"load_in_8bit": True},
    "gptq": {"bits": 4},
    "awq": {"bits": 4},
    "torchao": {"quant_type": "int8_weight_only"},
    "compressed-tensors": {},
    "hqq": {},
}


def test_a_model_whose_logits_are_not_those_of_its_tokens_is_refused(
    folder_of: Callable[[str], Path],
) -> None:
    """It writes a block of 256 tokens at once, whatever it reads."""
    with pytest.raises(ValueError, match="gives logits of 256 tokens where it reads") as refused:
        load_huggingface(folder_of("diffusion_gemma"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("method", METHODS)
def test_a_quantization_that_is_not_installed_is_named(method: str, folder: Path) -> None:
    config(quantization_config={"quant_method": method} | METHODS[method])(folder)
    with pytest.raises(ValueError, match=f"(?i)cannot be loaded: .*{method[:7]}") as caught:
        load_huggingface(folder)
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_refused_with_the_numbers_before_loading(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.huggingface.loading.load_weights", None)
    config(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32)(folder)
    with pytest.raises(ValueError, match=r"needs 186\.8 GB .* float32, and 2\.1 GB may be taken"):
        load_huggingface(folder, memory=2**31)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, r"there is no GPU for cuda"),
        ({"device": "gpu7"}, r"'gpu7' is no device; give cpu, cuda"),
        ({"dtype": "int8"}, r"'int8' is no dtype that is computed in"),
    ],
)
def test_a_device_or_dtype_that_is_none(
    folder: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        load_huggingface(folder, **options)


def test_a_model_without_chat_template_has_no_chat(folder: Path) -> None:
    remove("*.jinja")(folder)
    with pytest.raises(ValueError, match="has no chat template; leave out --chat"):
        load_huggingface(folder, chat=True)


def test_a_template_that_fails_is_named(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(ValueError, match="chat template of the tokenizer fails: roles must"):
        load_huggingface(folder, chat=True)


def test_a_text_that_the_tokenizer_cannot_represent(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"] = {"type": "WordLevel", "vocab": vocabulary | {"<unk>": 383}}
    tokenizer["model"]["unk_token"] = "<unk>"
    tokenizer["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated"}
    tokenizer["pre_tokenizer"] |= {"invert": False}
    path.write_text(json.dumps(tokenizer))
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    model = load_huggingface(folder)
    with pytest.raises(ValueError, match=r"cannot represent '猫' in the text 'ab猫c': .* <unk>"):
        capture_documents(model, [Document(doc_id=0, text="ab猫c")], Batches())


@pytest.mark.parametrize(("text", "lost"), [("a 猫 b", "猫"), ("é", "é"), ("a… b", "…")])
def test_characters_that_no_token_holds_are_not_left_out_in_silence(
    folder: Path, text: str, lost: str
) -> None:
    def ascii_alone(vocabulary: dict[str, int]) -> None:
        for name in [x for x in vocabulary if len(x) == 1 and not x.isascii() and x != "Ġ"]:
            del vocabulary[name]

    tokens(ascii_alone)(folder)
    model = load_huggingface(folder)
    with pytest.raises(ValueError, match=f"cannot represent '{lost}' .* would read nothing"):
        capture_documents(model, [Document(doc_id=0, text=text)], Batches())
    capture_documents(model, [Document(doc_id=0, text="a  b\n c\t")], Batches())


def test_what_a_folder_holds_is_known_before_it_is_loaded(folder: Path) -> None:
    found = look_into(folder)
    assert len(found.moe_layers) == 3
    assert (found.num_experts, found.top_k, found.num_shared_experts) == (8, 2, 0)
    stored = sum(x.numel() for x in load_file(folder / "model.safetensors").values())
    assert found.parameters == stored
    assert found.needed_bytes(torch.bfloat16) == 2 * stored


@pytest.mark.parametrize("named", ["somebody/kernel", "flash_attention_2", "nonsense", 7])
def test_how_a_model_is_computed_is_not_the_files_to_say(named: object, folder: Path) -> None:
    config(attn_implementation=named, experts_implementation=named)(folder)
    chosen = load_huggingface(folder).module.config
    assert (chosen._attn_implementation, chosen._experts_implementation) == ("sdpa", "grouped_mm")


def other_weights(folder: Path) -> str:
    """The name of a file of weights beside those of the model, all of them 1."""
    ones = {name: x.fill_(1) for name, x in load_file(folder / "model.safetensors").items()}
    save_file(ones, folder / "other.safetensors", metadata={"format": "pt"})
    return "other.safetensors"


def test_what_is_loaded_is_what_is_hashed(folder: Path) -> None:
    before, expected = model_sha256(folder), load_file(folder / "model.safetensors")
    other = other_weights(folder)
    index = {"metadata": {}, "weight_map": dict.fromkeys(expected, other)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert model_sha256(folder) == before
    config(transformers_weights=other)(folder)
    loaded = load_huggingface(folder).module.state_dict()["lm_head.weight"]
    assert torch.equal(loaded, expected["lm_head.weight"])


def test_a_config_that_asks_for_other_results_changes_nothing(folder: Path) -> None:
    config(return_dict=False, is_encoder_decoder=True)(folder)
    model = load_huggingface(folder)
    assert not model.two_stacks
    assert model.scored_from == 1


@pytest.mark.parametrize("settings", ["{bad", "[]"])
def test_settings_of_generation_that_cannot_be_read_are_refused(
    folder: Path, settings: str
) -> None:
    (folder / "generation_config.json").write_text(settings)
    with pytest.raises(ValueError, match=r"generation_config\.json is not"):
        look_into(folder)
