"""Models of transformers in our trainer: they learn, resume exactly, and are balanced as theirs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from data.snapshots import read_snapshots
from data.training_log import layers_table, read_log, steps_table
from model.training.batches import PlainBatches
from model.training.objective import Objective
from model.training.snapshots import Sample
from model.training.train_config import TrainConfig
from model.training.trainer import Trainer
from model.training.transformers_config import read_config
from model.training.transformers_model import TransformersModel
from tests.model.training.short_training import batch_of, losses

SIZES = {
    "vocab_size": 32,
    "max_position_embeddings": 16,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "initializer_range": 0.1,
    "tie_word_embeddings": True,
}
FAMILIES = {
    "qwen3_moe": {"num_experts": 8, "moe_intermediate_size": 8, "head_dim": 8},
    "olmoe": {"num_experts": 8},
    "mixtral": {"num_local_experts": 8, "head_dim": 8},
    "deepseek_v3": {
        "n_routed_experts": 8,
        "moe_intermediate_size": 8,
        "n_group": 2,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "num_hidden_layers": 3,
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    },
}
BY_LOSS = ("qwen3_moe", "olmoe", "mixtral")
SCHEDULE = TrainConfig(
    steps=30, batch_size=4, learning_rate=1e-2, warmup_steps=2, log_every=5, checkpoint_every=100
)


def tiny(family: str, **changes: object) -> TransformersModel:
    values = SIZES | FAMILIES[family] | {"model_type": family} | changes
    return TransformersModel(read_config(values, Path("config.json")))


def cycled(step: int) -> np.ndarray:
    """Each token is followed by the next: something to learn."""
    first_B = np.random.default_rng(step).integers(0, 32, size=(4, 1))
    batch_BS = (first_B + np.arange(17)) % 32
    batch_BS[0, 9:] = -1
    return batch_BS


def trained(folder: Path, family: str, *, stop_after: int | None = None) -> list[float]:
    sample = Sample(np.arange(32).reshape(2, 16), np.array([0, 1]), ("a", "b"))
    trainer = Trainer(tiny(family), SCHEDULE, folder, batches=PlainBatches(cycled), sample=sample)
    trainer.run(
        on_progress=lambda done: None,
        should_stop=lambda: stop_after is not None and trainer.step >= stop_after,
    )
    return losses(folder)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_and_leaves_what_pages_and_transformers_read(tmp_path: Path, family: str) -> None:
    falling = trained(tmp_path, family)
    assert falling[-1] < falling[0] - 0.5
    lines = read_log(tmp_path / "train_log.jsonl")
    assert steps_table(lines).step.tolist() == [5, 10, 15, 20, 25, 30]
    assert set(layers_table(lines).chosen) == {2.0}
    snapshots = read_snapshots(tmp_path / "snapshots.safetensors")
    assert snapshots.steps[-1] == 30
    assert snapshots.tokens_NLE[30].shape == (2, 2, 8)
    assert (snapshots.tokens_NLE[30].sum(-1) == 32).all()  # two experts for each of 16 tokens
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.bfloat16
    settings = json.loads((tmp_path / "train_config.json").read_text(encoding="utf-8"))
    assert settings["model"]["model_type"] == family


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_resumed_training_has_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, family: str
) -> None:
    whole = trained(tmp_path / "whole", family)
    trained(tmp_path / "cut", family, stop_after=15)
    assert trained(tmp_path / "cut", family) == whole
    one, other = (load_file(tmp_path / run / "progress.safetensors") for run in ("whole", "cut"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(other[name], array) for name, array in one.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_weights(family: str) -> None:
    model = tiny(family)
    states = []
    for seed in (1, 2, 1):
        model.initialize(seed=seed)
        states.append({name: x.clone() for name, x in model.module.state_dict().items()})
    assert all(torch.equal(x, states[2][name]) for name, x in states[0].items())
    assert not all(torch.equal(x, states[1][name]) for name, x in states[0].items())


@pytest.mark.parametrize("family", BY_LOSS)
def test_the_balance_loss_of_one_layer_is_that_of_the_model(family: str) -> None:
    """Which it computes of what its attention mask keeps."""
    model = tiny(family, num_hidden_layers=1, router_aux_loss_coef=0.5)
    batch_BS = torch.from_numpy(batch_of(0))
    balance = Objective(model)(batch_BS).balance
    keep_BS = batch_BS[:, :-1] >= 0
    told = model.module.model(
        input_ids=batch_BS[:, :-1].clamp(min=0),
        attention_mask=keep_BS.long(),
        output_router_logits=True,
        use_cache=False,
    )
    assert balance.item() == pytest.approx(0.5 * told.aux_loss.item(), rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_counts_nowhere(family: str) -> None:
    """Whatever stands where a text has ended: the same losses, the same choices."""
    objective = Objective(tiny(family))
    batch_BS = torch.from_numpy(batch_of(0))
    alone = torch.from_numpy(batch_of(0)[:1, :9])  # the sequence that is padded
    padded = objective(batch_BS[:1])
    cut = objective(alone)
    assert padded.inputs == 9
    assert cut.inputs == 8
    # the last token before the padding is routed, and predicts nothing
    assert padded.targets == cut.targets == 8
    assert padded.nats_B.item() == pytest.approx(cut.nats_B.item(), rel=1e-5)
    assert padded.tokens_LE.sum(-1).tolist() == [18.0, 18.0]
    with_target = objective(torch.cat([batch_BS[:1, :9], torch.tensor([[-1]])], dim=1))
    assert padded.balance.item() == pytest.approx(with_target.balance.item(), rel=1e-5)
    assert torch.equal(padded.tokens_LE, with_target.tokens_LE)


def test_a_bias_moves_towards_the_experts_below_the_mean() -> None:
    model = tiny("deepseek_v3")
    assert model.balanced_by_bias
    model.rebalance(torch.tensor([[8.0, 0, 0, 0, 0, 0, 0, 0]] * 2))
    assert model.biases[1].tolist() == pytest.approx([-0.001] + [0.001] * 7)
    assert not tiny("olmoe").balanced_by_bias


def test_the_first_token_is_trained(tmp_path: Path) -> None:
    """As padding of the family's own it would have no gradient."""
    model = tiny("olmoe", pad_token_id=0)
    Objective(model)(torch.zeros(1, 17, dtype=torch.long)).total.backward()
    gradient = model.module.model.get_input_embeddings().weight.grad
    assert gradient[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": "qwen9"}, "the model_type 'qwen9', which this version of transformers"),
        ({}, "has the model_type None"),
        ({"model_type": "vit"}, "has no causal language model of type 'vit'"),
        ({"model_type": "olmoe", "vocab_size": "many"}, "transformers makes no model of c.json"),
    ],
)
def test_a_config_that_cannot_be_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        read_config(values, Path("c.json"))
    assert "\n" not in str(refused.value)


def test_a_dense_model_is_refused() -> None:
    with pytest.raises(ValueError, match="a llama of this config has no MoE layers"):
        TransformersModel(read_config(SIZES | {"model_type": "llama"}, Path("c.json")))


def test_experts_compute_in_the_type_of_autocast() -> None:
    model = tiny("qwen3_moe")
    seen = []
    experts = model.module.layers[0].experts
    experts.register_forward_pre_hook(lambda module, args: seen.append(module.gate_up_proj.dtype))
    ids_BS = torch.zeros(1, 16, dtype=torch.long)
    model.predicted(ids_BS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_BSV, _ = model.predicted(ids_BS)
    assert seen == [torch.float32, torch.bfloat16]
    logits_BSV.float().logsumexp(-1).sum().backward()
    gradient = experts.get_parameter("gate_up_proj").grad
    assert gradient is not None
    assert gradient.dtype == torch.float32
