"""How gates choose, told without weights: never otherwise than by a forward of the whole model."""

import pytest
import torch

from model.huggingface.first_gate import first_gate
from model.huggingface.layers import find_layers
from tests.families.found import Family, families
from tests.families.shrink import EXPERTS, shrunk
from tests.model.huggingface.table import written

SAMPLE = {"deepseek_v3", "gpt_oss", "llama4", "mixtral", "nllb_moe", "switch_transformers"}
NOT_ALONE = {"deepseek_v4", "diffusion_gemma", "doge", "gemma4", "jetmoe", "zaya"}
WITH_IDENTITY = {"longcat_flash": 12}  # experts, those without weights counted
SCORING = {  # as docs/models.md has it
    row.split("|")[1].strip(): row.split("|")[4].strip()
    for row in written().splitlines()
    if row.startswith("| ")
}
EVERY_FAMILY = [
    pytest.param(family, id=family.name, marks=[] if family.name in SAMPLE else [pytest.mark.slow])
    for family in families()
]


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_the_first_gate_alone_scores_as_in_the_whole_model(family: Family) -> None:
    with torch.device("meta"):
        model = family.model_class(shrunk(family.config_class))
    found = first_gate(find_layers(model)[0])
    if family.name in NOT_ALONE:
        assert found is None
    else:
        assert found is not None
        assert (found.scoring, found.num_experts) == (
            SCORING[family.name],
            WITH_IDENTITY.get(family.name, EXPERTS),
        )
    weights = dict(model.named_parameters())
    assert all(weight.is_meta for name, weight in weights.items() if ".experts." in name)
