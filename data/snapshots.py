"""Routing of a fixed held-out sample along a training: one safetensors file.

N = documents of the sample, S = tokens of it that are followed, L = MoE layers, E = routed experts,
B = bytes of E bits. `domain_id` uint8 [N]; for a step `tokens_00000001` uint16 [N, L, E] and
`chosen_00000001` uint8 [S, L, B]; `domains` (JSON) and `num_experts` in the metadata.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

TOKENS, CHOSEN = "tokens_", "chosen_"  # then eight digits
OLD = "step_"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoutingSnapshots:
    """The last step is the final one, or the latest of a training that runs."""

    domains: tuple[str, ...]
    domain_id_N: np.ndarray
    num_experts: int
    tokens_NLE: Mapping[int, np.ndarray]  # choices by step, ascending
    packed_SLB: Mapping[int, np.ndarray]  # by step, as in the file

    @property
    def steps(self) -> list[int]:
        return list(self.tokens_NLE)

    def choices(self, step: int) -> np.ndarray:
        """Which experts each followed token chose; how many may differ from token to token."""
        bits_SLE = np.unpackbits(self.packed_SLB[step], axis=-1, count=self.num_experts)
        return bits_SLE.astype(bool)


def read_snapshots(path: Path) -> RoutingSnapshots:
    """One moment of the file: it may be replaced while it is read."""
    if not path.is_file():
        raise ValueError(f"{path} not found; it is written by `routescope train`")
    try:
        with safe_open(path, framework="np") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    if any(key.startswith(OLD) for key in arrays):
        raise ValueError(
            f"{path} has the format of an earlier version, without the texts' domains; train again "
            "with `routescope train`"
        )
    if not any(key.startswith(TOKENS) for key in arrays):
        raise ValueError(f"{path} holds no routing snapshots; found {sorted(arrays)}")
    try:
        snapshots = RoutingSnapshots(
            domains=tuple(json.loads(metadata["domains"])),
            domain_id_N=arrays["domain_id"],
            num_experts=int(metadata["num_experts"]),
            tokens_NLE=_by_step(arrays, TOKENS),
            packed_SLB=_by_step(arrays, CHOSEN),
        )
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} lacks or garbles {error}; train again") from error
    _require_one_sample(path, snapshots)
    return snapshots


def _by_step(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[int, np.ndarray]:
    keys = sorted(key for key in arrays if key.startswith(prefix))
    return {int(key.removeprefix(prefix)): arrays[key] for key in keys}


def _require_one_sample(path: Path, snapshots: RoutingSnapshots) -> None:
    """Every step has the same documents, tokens and layers."""
    shapes = {array_NLE.shape for array_NLE in snapshots.tokens_NLE.values()}
    packed = {array_SLB.shape for array_SLB in snapshots.packed_SLB.values()}
    whole = [snapshots.domain_id_N, *snapshots.tokens_NLE.values()]
    whole += snapshots.packed_SLB.values()
    if snapshots.num_experts < 1 or any(array.dtype.kind != "u" for array in whole):
        raise ValueError(f"{path} holds other numbers than counts of experts; train again")
    num_layers = ([*next(iter(shapes)), 0, 0])[1]
    num_bytes = -(-snapshots.num_experts // 8)
    if (
        snapshots.tokens_NLE.keys() != snapshots.packed_SLB.keys()
        or shapes != {(len(snapshots.domain_id_N), num_layers, snapshots.num_experts)}
        or snapshots.domain_id_N.ndim != 1
        or not all(isinstance(domain, str) for domain in snapshots.domains)
        or {shape[1:] for shape in packed} != {(num_layers, num_bytes)}
        or len(packed) != 1
        or snapshots.domain_id_N.max(initial=0) >= len(snapshots.domains)
    ):
        raise ValueError(
            f"{path} does not fit together: {len(snapshots.domain_id_N)} documents of "
            f"{len(snapshots.domains)} domains, {snapshots.num_experts} experts, "
            f"choices {sorted(shapes)}, tokens {sorted(packed)}; train again"
        )
