import pytest

from app.views.shared.layer_names import NUMBERED, layer_names


@pytest.mark.parametrize(
    "names",
    [
        ["layers.1.mlp", "layers.2.mlp"],
        ["layer 0", "layer 1"],  # of an older trace: names that nobody knows
        ["model.layers.0.mlp"],
        ["encoder.block.1.layer.1.mlp", "encoder.block.3.layer.1.mlp"],
    ],
)
def test_layers_of_one_kind_are_numbered_over_moe_layers(names: list[str]) -> None:
    found = layer_names(names)
    assert [found[layer_id] for layer_id in range(len(names))] == [
        f"layer {layer_id}" for layer_id in range(len(names))
    ]
    assert found.choice(0) == "0"
    assert found.hover(0) == "layer 0"
    assert (
        found.axis(len(names))
        == NUMBERED.axis(len(names))
        == {
            "title_text": "MoE layer",
            "tickvals": list(range(len(names))),
            "ticktext": [str(layer_id) for layer_id in range(len(names))],
        }
    )


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (
            ["encoder.layers.1.ffn", "encoder.layers.3.ffn", "decoder.layers.1.ffn"],
            ["encoder 1", "encoder 3", "decoder 1"],
        ),
        (
            ["encoder.block.1.layer.1.mlp", "decoder.block.1.layer.2.mlp"],
            ["encoder 1", "decoder 1"],
        ),
        (
            ["layers.0.self_attention.experts", "layers.0.mlp", "layers.1.mlp"],
            ["attention 0", "MLP 0", "MLP 1"],
        ),
        (
            ["layers.1.mlp.text_moe", "layers.1.mlp.vision_moe"],
            ["text 1", "vision 1"],
        ),
        (
            ["vision_tower.blocks.0.mlp", "language_model.layers.2.mlp"],
            ["vision 0", "text 2"],
        ),
        (
            ["layers.3.mlp", "mtp.layers.0.mlp"],
            ["layer 3", "mtp 0"],
        ),
        (
            ["encoder.layers.0.attn", "encoder.layers.0.mlp", "decoder.layers.0.mlp"],
            ["encoder attention 0", "encoder MLP 0", "decoder MLP 0"],
        ),
        (
            ["layers.0.experts_a", "layers.0.experts_b"],
            ["experts a 0", "experts b 0"],
        ),
        (["a.mlp", "b.mlp"], ["a", "b"]),
        (["a.0.mlp.mlp", "a.0.mlp"], ["layer 0", "layer 1"]),  # nothing tells them apart
        (["a" * 50 + ".0", "b.0"], ["layer 0", "layer 1"]),
        (["*x*.0", "<b>.0", "[y](z).0"], ["x 0", "b 0", "y z 0"]),
    ],
)
def test_kinds_of_layers_are_told_apart_in_words(names: list[str], short: list[str]) -> None:
    found = layer_names(names)
    assert [found[layer_id] for layer_id in range(len(names))] == short
    assert len(set(short)) == len(short)


def test_a_tooltip_has_the_number_and_the_models_own_name() -> None:
    found = layer_names(["encoder.0.mlp", "decoder.<b>.0.mlp"])
    assert found.hover(0) == "encoder 0 (layer 0, encoder.0.mlp)"
    assert "<b>" not in found.hover(1)
    assert found.first(0) == "Encoder 0"
    assert found.axis(2)["ticktext"] == ["encoder 0", "decoder 0"]
