"""How similar experts of transformers are, held against their weights as stored and their outputs
one by one.

E = experts, T = tokens, D = model dim.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analysis.redundancy import CLOSED
from app.studies import redundancy
from app.studies.compression.rule import Rule
from app.studies.reader import Tracer, load_tracer
from app.views.redundancy import panels
from app.views.shared.theme import LIGHT
from model.encoded import encoded_documents, forward_room
from model.huggingface import model as huggingface
from model.huggingface.weights import may_be_negated
from tests.app.pages import page
from tests.families.folders import SIX, family_called, write_folder
from tests.families.shrink import DIM, EXPERTS, WIDTH
from tests.families.tiny import tiny
from tests.model.huggingface.replay import of_contract

pytestmark = pytest.mark.slow

NAMES = {  # of one expert's gate, up and down in the files of a family
    "mixtral": ("model.layers.{}.block_sparse_moe.experts.{}", "w1", "w3", "w2"),
}
OTHERS = ("model.layers.{}.mlp.experts.{}", "gate_proj", "up_proj", "down_proj")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"text {n} of {n * n} and def f(x): return {n}" for n in range(20)))
    return path


def measured(tracer: Tracer, texts: Path) -> redundancy.Redundancy:
    return redundancy.measure(tracer, redundancy.calibration(tracer.model, texts))


def stored_experts(folder: Path, name: str, layer: int) -> np.ndarray:
    """Every weight of each expert as the file has it [E, numbers]."""
    tensors = load_file(folder / "model.safetensors")
    if name == "gpt_oss":
        first, down = (
            tensors[f"model.layers.{layer}.mlp.experts.{part}"]
            for part in ("gate_up_proj", "down_proj")
        )
        return torch.cat([first.flatten(1), down.flatten(1)], 1).numpy()
    pattern, *parts = NAMES.get(name, OTHERS)
    return np.stack(
        [
            np.concatenate(
                [tensors[f"{pattern.format(layer, e)}.{part}.weight"].flatten() for part in parts]
            )
            for e in range(EXPERTS)
        ]
    )


def cosines(rows_EN: np.ndarray) -> np.ndarray:
    unit_EN = rows_EN / np.linalg.norm(rows_EN, axis=1, keepdims=True)
    return unit_EN @ unit_EN.T


@pytest.mark.parametrize("name", SIX)
def test_weights_and_outputs_by_hand(name: str, texts: Path, tmp_path: Path) -> None:
    tracer = load_tracer(write_folder(name, tmp_path / "model"))
    found = measured(tracer, texts)
    layers = tracer.model.moe_layers()
    assert found.outputs.shape == (len(layers), EXPERTS, EXPERTS)
    where = int(str(layers[-1].name).split(".")[2])  # type: ignore[attr-defined]
    by_hand_EE = cosines(stored_experts(tmp_path / "model", name, where))
    assert np.abs(found.weights[-1] - by_hand_EE).max() < 1e-5
    outputs_EE, saliency_E = outputs_by_hand(tracer, texts)
    assert np.abs(found.outputs[-1] - outputs_EE).max() < 1e-4
    assert np.allclose(found.saliency_LE[-1], saliency_E, rtol=1e-4, atol=1e-6)
    assert found.tokens_LE.sum(1).tolist() == [2 * found.num_tokens] * len(layers)


@torch.inference_mode()
def outputs_by_hand(tracer: Tracer, texts: Path) -> tuple[np.ndarray, np.ndarray]:
    """(mean cosine of outputs, mean weighted length where chosen) in the last layer, from forwards
    of one text each and one expert at a time."""
    model: Any = tracer.model
    layer = model.moe_layers()[-1]
    given: list[tuple[Any, ...]] = []
    hook = layer.experts.register_forward_pre_hook(lambda _, arguments: given.append(arguments))
    for item in redundancy.calibration(model, texts):
        model.module(input_ids=torch.tensor([item.token_ids]))
    hook.remove()
    x_TD, ids_TK, weights_TK = (torch.cat(parts) for parts in zip(*given, strict=True))
    one_T = torch.ones(len(x_TD))
    outputs_ETD = torch.stack([of_contract(layer, e, x_TD, one_T) for e in range(EXPERTS)]).numpy()
    length_ET = np.linalg.norm(outputs_ETD, axis=-1)
    unit_ETD = outputs_ETD / length_ET[..., None]
    saliency_E = np.array(
        [
            float((weights_TK.numpy() * (ids_TK == e).numpy()).sum(1) @ length_ET[e]) / len(x_TD)
            for e in range(EXPERTS)
        ]
    )
    return np.einsum("etd,ftd->ef", unit_ETD, unit_ETD) / len(x_TD), saliency_E


def test_experts_without_weights_are_not_comparable_by_weights(texts: Path, tmp_path: Path) -> None:
    found = measured(load_tracer(write_folder("longcat_flash", tmp_path / "model")), texts)
    with_weights = EXPERTS
    experts = found.tokens_LE.shape[1]
    assert experts > with_weights
    assert np.isfinite(found.weights[:, :with_weights, :with_weights]).all()
    assert np.isnan(found.weights[:, with_weights:]).all()
    identity = found.outputs[0, with_weights:, with_weights:]
    assert identity == pytest.approx(np.ones_like(identity), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "negated", "shape"),
    [
        ("mixtral", True, (EXPERTS, WIDTH, 3, DIM)),
        ("gpt_oss", False, (EXPERTS, DIM, 1, 3 * DIM)),  # adds 1 to what is negated
        ("nemotron_h", False, (EXPERTS, WIDTH, 1, 2 * DIM)),  # no gate
    ],
)
def test_a_neuron_is_negated_only_where_that_changes_nothing(
    name: str, negated: bool, shape: tuple[int, ...], tmp_path: Path
) -> None:
    [layer, *_] = load_tracer(write_folder(name, tmp_path)).model.moe_layers()
    assert may_be_negated(layer.experts) is negated
    neurons_EFPD = layer.neurons()
    assert neurons_EFPD.shape[0] == shape[0]
    assert neurons_EFPD.shape[2] == shape[2]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("dbrx", r"\(DbrxExperts\) are not stored as two stacked weights"),
        ("llama4", "experts of Llama4Router are not given choices and weights alone"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    name: str, line: str, texts: Path, tmp_path: Path
) -> None:
    tracer = load_tracer(write_folder(name, tmp_path / "model"))
    with pytest.raises(ValueError, match=line):
        measured(tracer, texts)


def test_a_text_longer_than_one_forward_is_cut(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = load_tracer(write_folder("mixtral", tmp_path / "model"))
    monkeypatch.setitem(huggingface.BATCH_TOKENS, "cpu", 30)
    assert forward_room(tracer.model) == 30
    [item] = encoded_documents(tracer.model, redundancy_documents(100), room=30)
    assert (len(item.token_ids), item.document.truncated_tokens) == (30, 70)
    used = redundancy.calibration(tracer.model, texts)
    assert max(len(item.token_ids) for item in used) == 30
    assert measured(tracer, texts).num_tokens == sum(len(item.token_ids) for item in used)


def redundancy_documents(length: int) -> list[Any]:
    from data.routing import Document

    return [Document(doc_id=0, text="x" * length)]


def test_layers_with_fewer_experts_end_in_nothing(texts: Path, tmp_path: Path) -> None:
    folder = write_folder("mixtral", tmp_path / "model")
    whole = load_tracer(folder)
    module: Any = tiny(family_called("mixtral"))
    block = module.model.layers[1].mlp
    block.gate.num_experts = block.experts.num_experts = 4
    for holder in (block.gate, block.experts):
        for name, weight in list(holder.named_parameters()):
            setattr(holder, name, torch.nn.Parameter(weight[:4]))
    model = huggingface.HuggingFaceModel(module, whole.model.text.tokenizer)  # type: ignore[attr-defined]
    found = measured(Tracer(folder, model), texts)
    assert found.experts_by_layer.tolist() == [8, 4, 8]
    assert np.isnan(found.outputs[1, 4:]).all()
    leader_LE = Rule(by="saliency", share=0.25).leaders(found)
    assert (leader_LE == CLOSED).sum(1).tolist() == [2, 4 + 1, 2]
    assert ("Experts left", "20", "of 20") in panels.headline(found, "outputs", threshold=1.0)
    shown = panels.similarity(found, LIGHT, by="outputs", layer_id=1, threshold=0.9)
    assert len(shown.table) == 4 * 3 / 2


def test_the_page_shows_what_was_measured(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder("qwen3_moe", tmp_path / "model")
    redundancy.store(folder, measured(load_tracer(folder), texts))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(folder))
    app = page("redundancy")
    assert not app.exception
    assert "of 16" in [metric.delta for metric in app.metric]
    assert len(app.get("plotly_chart")) == 2
