"""Models with fewer experts, and INT8 ones: what stays the same, by how much the rest moves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.redundancy import aligned_similarity, neuron_match
from data.routing import Document
from model.checkpoint import load_model, quantize, save_model
from model.compress import Plan, prune, with_int8_experts
from model.config import CLOSED, ModelConfig
from model.counting import count
from model.encoded import Encoded
from model.expert_inputs import expert_inputs, expert_outputs
from model.transformer import Transformer
from tests.models import small_config, small_dsr, small_router
from tests.readable import readable

IDS = torch.arange(16).reshape(1, 16)
ALONE = list(range(8))


def new_model(config: ModelConfig | None = None) -> Transformer:
    model = Transformer(config or small_config())
    model.initialize(seed=0)
    return model.eval()


def plan(*leaders: list[int], width: int = 8) -> Plan:
    """Drop: a group runs its leader's weights."""
    leader_LE = np.array(leaders)
    return Plan(
        leader_LE=leader_LE,
        share_LE=(leader_LE == np.arange(leader_LE.shape[1])).astype(float),
        order_LEF=np.tile(np.arange(width), (*leader_LE.shape, 1)),
        sign_LEF=np.ones((*leader_LE.shape, width)),
    )


def with_twin(model: Transformer) -> Transformer:
    """In both layers expert 1 becomes expert 0 with its neurons turned round, one negated."""
    with torch.no_grad():
        for moe in model.moe_layers():
            gate, up = moe.experts.gate_up_EDF[0].chunk(2, dim=-1)
            sign_F = torch.tensor([-1.0, *[1.0] * 7])
            moe.experts.gate_up_EDF[1] = torch.cat([gate.flip(-1), up.flip(-1) * sign_F], dim=-1)
            moe.experts.down_EFD[1] = moe.experts.down_EFD[0].flip(0) * sign_F[:, None]
    return model


@pytest.mark.parametrize("chosen", [2, 6])  # few: gathered; many: all compute
@pytest.mark.parametrize("how", ["drop", "merge"])
def test_a_twin_is_found_and_merging_it_changes_nothing(how: str, chosen: int) -> None:
    model = with_twin(new_model(replace(small_config(), top_k=chosen)))
    asked = plan([0, 0, *ALONE[2:]], [0, 0, *ALONE[2:]])
    for layer, moe in enumerate(model.moe_layers()):
        of_layer = moe.neurons()
        assert aligned_similarity(of_layer)[0, 1] == pytest.approx(1, abs=1e-6)
        if how == "merge":
            asked.share_LE[layer, :2] = [0.75, 0.25]
            match = neuron_match(of_layer[1], of_layer[0])
            asked.order_LEF[layer, 1], asked.sign_LEF[layer, 1] = match
    small = prune(model, asked)
    assert torch.allclose(small(IDS), model(IDS), atol=1e-6)
    assert [len(moe.experts.gate_up_EDF) for moe in small.moe_layers()] == [7, 7]
    removed = count(model.config).parameters - count(small.config).parameters
    assert removed == 2 * 3 * 16 * 8  # layers, parts, model dim, width


def test_layers_may_keep_different_numbers_and_survive_the_disk(tmp_path: Path) -> None:
    small = prune(new_model(), plan([0] * 4 + [4, 5, 6, 7], ALONE))
    save_model(small, tmp_path, dtype=torch.float32)
    loaded = load_model(tmp_path)
    assert loaded.config == small.config
    assert [len(moe.experts.down_EFD) for moe in loaded.moe_layers()] == [5, 8]
    assert torch.equal(loaded(IDS), small(IDS))


@pytest.mark.parametrize(
    "config", [small_config(), small_router("sigmoid", balancing="bias"), small_dsr()]
)
def test_a_closed_expert_is_never_chosen(config: ModelConfig) -> None:
    model = new_model(config)
    closed = [CLOSED, CLOSED, *ALONE[2:]]
    chosen = []
    small = prune(model, plan(closed, closed))
    for moe in small.moe_layers():
        moe.experts.register_forward_pre_hook(lambda module, given: chosen.append(given[1]))
    assert torch.isfinite(small(IDS)).all()
    assert not set(torch.cat(chosen).flatten().tolist()) & {0, 1}


def test_the_given_model_stays_as_it_is() -> None:
    model = new_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prune(model, plan([0] * 4 + [4, 5, 6, 7], ALONE))
    with_int8_experts(model)
    assert model.config == small_config()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_what_every_expert_gives_is_what_the_layer_sums() -> None:
    model = new_model()
    item = Encoded(Document(doc_id=0, text=""), list(range(1, 12)), [""] * 11, [None] * 11)
    [(place_T, layers)] = list(expert_inputs(readable(model), [item]))
    assert place_T.tolist() == [0] * 11
    for moe, given in zip(model.moe_layers(), layers, strict=True):
        outputs_ETD = expert_outputs(moe, given.x_TD)
        rows_T = torch.arange(11)[:, None]
        chosen_TKD = outputs_ETD[given.expert_ids_TK, rows_T]
        summed_TD = (chosen_TKD * given.weights_TK.unsqueeze(-1)).sum(1)
        assert torch.allclose(summed_TD, moe.experts(*given), atol=1e-6)


@pytest.mark.parametrize(
    ("leaders", "line"),
    [
        ([0] * 8, "would keep 1 experts, and a token chooses 2"),
        ([CLOSED] * 7 + [7], "would keep 1 experts"),
        ([1, 2, 2, *ALONE[3:]], "must be an expert that leads itself"),
        ([9, *ALONE[1:]], "must be an expert that leads itself"),
        (ALONE[:7], "must name one for each of 8 experts in 2 MoE layers"),
    ],
)
def test_a_wrong_group_is_refused(leaders: list[int], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        replace(small_config(), expert_leaders=(tuple(leaders), tuple(ALONE)))


def test_closed_experts_are_refused_where_a_token_cannot_go_elsewhere() -> None:
    closed = ((CLOSED, *ALONE[1:]), tuple(ALONE))
    with pytest.raises(ValueError, match="hash router cannot choose another"):
        replace(small_router("hash"), expert_leaders=closed)
    grouped = replace(small_config(), expert_groups=4, groups_per_token=1)
    with pytest.raises(ValueError, match="1 groups of MoE layer 0 may hold 1 open experts"):
        replace(grouped, expert_leaders=((0, -1, 2, -1, 4, -1, 6, -1), tuple(ALONE)))
    with pytest.raises(ValueError, match="already been pruned"):
        prune(prune(new_model(), plan([0, 0, *ALONE[2:]], ALONE)), plan(ALONE, ALONE))


def test_int8_is_at_most_half_a_step_away(tmp_path: Path) -> None:
    weight_EDF = torch.randn(4, 16, 6, generator=torch.Generator().manual_seed(0))
    name = "layers.1.ffn.experts.down_EFD"
    stored = quantize({name: weight_EDF, "head.weight": weight_EDF[0]})
    assert stored[name].dtype == torch.int8
    assert stored["head.weight"] is not None
    assert stored["head.weight"].dtype == torch.float32
    scale = stored[f"{name}.scale"].float()
    assert scale.shape == (4, 1, 6)  # an expert and output channel
    error = (stored[name] * scale - weight_EDF).abs()
    # half a step; the largest weight of a channel, cut at 127 steps, by the rounding of the scale
    assert (error <= scale * (0.5 + 127 * 2**-9)).all()


def test_int8_experts_are_read_as_they_were_written_and_written_again_the_same(
    tmp_path: Path,
) -> None:
    save_model(with_int8_experts(new_model()), tmp_path / "a")
    loaded = load_model(tmp_path / "a")
    save_model(loaded, tmp_path / "b")
    shard = "model-00001-of-00001.safetensors"
    assert (tmp_path / "a" / shard).read_bytes() == (tmp_path / "b" / shard).read_bytes()
    plain = load_model_of(new_model(), tmp_path / "c")
    gate, expected = loaded.moe_layers()[0].gate, plain.moe_layers()[0].gate
    assert torch.equal(gate.get_parameter("weight_ED"), expected.get_parameter("weight_ED"))
    assert torch.allclose(loaded(IDS), plain(IDS), atol=0.02)


def load_model_of(model: Transformer, folder: Path) -> Transformer:
    save_model(model, folder)
    return load_model(folder)


def test_int8_in_the_config_alone_is_refused(tmp_path: Path) -> None:
    save_model(new_model(), tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"bfloat16"', '"int8"'))
    with pytest.raises(ValueError, match=r"do not fit its config: .*scale is missing"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(config.replace('"bfloat16"', '"int7"'))
    with pytest.raises(ValueError, match="must be 'bfloat16' or 'int8'"):
        load_model(tmp_path)
