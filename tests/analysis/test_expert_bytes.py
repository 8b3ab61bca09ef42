from dataclasses import replace

import duckdb
import pytest

from analysis import queries
from analysis.expert_bytes import expert_bytes, expert_groups


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ({"hidden_dim": 256, "expert_dim": 48, "expert_dtype": "bfloat16"}, 3 * 256 * 48 * 2),
        ({"hidden_dim": 256, "expert_dim": 48, "expert_dtype": "int8"}, 3 * 256 * 48),
        ({"hidden_size": 8, "moe_intermediate_size": 4, "dtype": "float32"}, 3 * 8 * 4 * 4),
        ({"text_config": {"hidden_size": 8, "moe_intermediate_size": 4, "dtype": "float16"}}, 192),
        (
            {"model_type": "mixtral", "hidden_size": 8, "intermediate_size": 4}
            | {"torch_dtype": "bfloat16"},
            192,
        ),
        ({"hidden_size": 8, "intermediate_size": 4, "dtype": "bfloat16"}, None),  # of dense blocks
        ({"hidden_size": 8, "moe_intermediate_size": 4}, None),
        (
            {"hidden_size": 8, "moe_intermediate_size": 4, "dtype": "bfloat16"}
            | {"quantization_config": {"quant_method": "mxfp4"}},
            None,
        ),
        (
            {"text_config": {"hidden_size": 8, "moe_intermediate_size": 4}}
            | {"torch_dtype": "bfloat16"},
            192,
        ),
        (
            {"text_config": {"hidden_size": 8, "moe_intermediate_size": 4, "dtype": "bfloat16"}}
            | {"quantization_config": {"quant_method": "fp8"}},
            None,
        ),
        ({"hidden_size": -8, "moe_intermediate_size": "4", "dtype": ["x"]}, None),
        ({}, None),
        ("x", None),
    ],
)
def test_the_size_of_an_expert_is_that_of_its_three_matrices(
    model: object, size: int | None, tiny: duckdb.DuckDBPyConnection
) -> None:
    info = replace(queries.trace_info(tiny), config={"model": model})
    assert expert_bytes(info) == size


@pytest.mark.parametrize(
    ("model", "groups"),
    [
        ({"n_group": 8}, 8),
        ({"num_expert_groups": 4}, 4),
        ({"text_config": {"num_group": 2}, "n_group": None}, 2),
        ({"n_groups": -1, "text_config": []}, 1),
        ("x", 1),
    ],
)
def test_groups_of_experts_are_found_in_either_level(
    model: object, groups: int, tiny: duckdb.DuckDBPyConnection
) -> None:
    info = replace(queries.trace_info(tiny), config={"model": model})
    assert expert_groups(info) == groups
