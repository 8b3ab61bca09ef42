"""Dumps of SGLang's expert-distribution recorder, read as far as their tensors, each value checked.

Mode stat leaves a file of counts. Modes per_pass and per_token leave a file a rank, with a record
for each forward pass.

T = tokens, L = layers, E = logical experts, P = physical experts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.importers.reading.torch_file import Tensor, TorchFile
from data.importers.source import DumpFile
from data.new_trace import MOST_EXPERTS

MOST_ID = 2**48  # of a forward pass
MOST_POSITION = 2**31 - 1
MOST_TOKEN = 2**32 - 2
MOST_LAYERS = 4_096
PREFILL_MODES = (1, 3)  # of ForwardMode, in every version: EXTEND, MIXED
DECODE_MODE, MIXED_MODE, IDLE_MODE = 2, 3, 4
DRAFT_MODES = (5, 6)  # TARGET_VERIFY, DRAFT_EXTEND; versions differ in the numbers beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What mode per_token adds to a record."""

    mode: int  # ForwardMode
    token_id_T: np.ndarray  # int64
    position_T: np.ndarray  # int64
    lengths: np.ndarray | None  # of the sequences of a prefill; their sum can be below T: padding
    ids: Tensor  # [L, T, 8] physical, -1 where there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A forward pass as one rank saw it."""

    file: DumpFile
    number: int  # in the file, from 1
    pass_id: int
    rank: int
    counts: Tensor | None  # [L, P]
    tokens: Tokens | None

    @property
    def where(self) -> str:
        return f"{self.file.name}: record {self.number} (pass {self.pass_id})"

    @property
    def nbytes(self) -> int:
        tensor = self.counts if self.tokens is None else self.tokens.ids
        return 0 if tensor is None else tensor.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """Of mode stat: counts by step, the newest last unless the buffer is a ring."""

    file: DumpFile
    counts: Tensor  # [steps, L, E]
    utilization: float | None

    mode = "stat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """Of mode per_pass or per_token."""

    file: DumpFile
    mode: str
    records: tuple[Record, ...]
    map_LP: np.ndarray | None  # int64, logical expert of each physical one


def read_dump(file: DumpFile) -> Stat | Detail:
    """ValueError: it is no dump of the recorder."""
    opened = TorchFile(file)
    value, opened.value = opened.value, None  # tensors keep the file, and it would keep the lists
    if isinstance(value, dict) and "logical_count" in value:
        return _stat(file, value)
    if isinstance(value, dict) and isinstance(value.get("records"), list):
        return _detail(file, value)
    found = f"keys {list(value)[:9]!r:.80}" if isinstance(value, dict) else "no dict"
    raise ValueError(
        f"{file.name} holds {found}; a dump of SGLang's recorder has logical_count, or a list "
        "records"
    )


def _stat(file: DumpFile, value: Mapping[object, object]) -> Stat:
    counts = _tensor(value, "logical_count", file.name, dimensions=3)
    utilization = value.get("average_utilization_rate_over_window")
    if not 1 <= counts.shape[1] <= MOST_LAYERS or not 1 <= counts.shape[2] <= MOST_EXPERTS:
        raise ValueError(
            f"{file.name}: logical_count is {list(counts.shape)}; expected are steps, layers and "
            f"experts, at most {MOST_LAYERS:,} and {MOST_EXPERTS:,}"
        )
    known = utilization if isinstance(utilization, float) else None
    return Stat(file=file, counts=counts, utilization=known)


def _detail(file: DumpFile, value: Mapping[object, object]) -> Detail:
    items = value["records"]
    assert isinstance(items, list)
    if not items:
        raise ValueError(f"{file.name} has no records; dump after requests have run")
    records = tuple(_record(file, number, item) for number, item in enumerate(items, start=1))
    modes = ["per_pass" if record.tokens is None else "per_token" for record in records]
    if len(set(modes)) > 1:
        raise ValueError(f"{file.name} has records of both modes, per_pass and per_token")
    map_LP = None
    if value.get("last_physical_to_logical_map") is not None:
        map_LP = _map(value, file.name)
    return Detail(file=file, mode=modes[0], records=records, map_LP=map_LP)


def _map(value: Mapping[object, object], where: str) -> np.ndarray:
    tensor = _tensor(value, "last_physical_to_logical_map", where, dimensions=2)
    map_LP = tensor.read().astype(np.int64)
    if not map_LP.size or map_LP.min() < 0 or map_LP.max() >= MOST_EXPERTS:
        found = f"{map_LP.min()} to {map_LP.max()}" if map_LP.size else "empty"
        raise ValueError(
            f"{where}: last_physical_to_logical_map is {found}; logical experts are 0 to at most "
            f"{MOST_EXPERTS - 1:,}"
        )
    return map_LP


def _record(file: DumpFile, number: int, item: object) -> Record:
    where = f"{file.name}: record {number}"
    if not isinstance(item, dict):
        raise ValueError(f"{where} is a {type(item).__name__}; expected is a dict")
    key = item.get("gatherer_key", "primary")
    if key != "primary":
        raise ValueError(f"{where} has a gatherer_key that is not 'primary', which is not read")
    tokens = _tokens(item, where) if "topk_ids_of_layer" in item else None
    counts = None
    if tokens is None:
        counts = _tensor(item, "global_physical_count", where, dimensions=2)
        if not all(0 < size <= 4 * MOST_EXPERTS for size in counts.shape):
            raise ValueError(
                f"{where}: global_physical_count is {list(counts.shape)}; expected are layers and "
                "physical experts"
            )
    return Record(
        file=file,
        number=number,
        pass_id=_integer(item, "forward_pass_id", where, most=MOST_ID),
        rank=_integer(item, "rank", where, most=2**20),
        counts=counts,
        tokens=tokens,
    )


def _tokens(item: Mapping[object, object], where: str) -> Tokens:
    ids = _tensor(item, "topk_ids_of_layer", where, dimensions=3)
    token_id_T = _integers(item, "input_ids", where, most=MOST_TOKEN)
    position_T = _integers(item, "positions", where, most=MOST_POSITION)
    layers, rows, top_k = ids.shape
    if not len(token_id_T) == len(position_T) == rows:
        raise ValueError(
            f"{where} has {len(token_id_T)} input_ids, {len(position_T)} positions and "
            f"topk_ids_of_layer of {rows} tokens; they are one for each token"
        )
    if not 1 <= layers <= MOST_LAYERS or not 1 <= top_k <= MOST_EXPERTS:
        raise ValueError(
            f"{where}: topk_ids_of_layer is {list(ids.shape)}; expected are layers, tokens, choices"
        )
    lengths = None
    if item.get("extend_seq_lens") is not None:
        lengths = _integers(item, "extend_seq_lens", where, most=MOST_POSITION)
        if lengths.sum() > rows:
            raise ValueError(
                f"{where}: extend_seq_lens sum to {lengths.sum():,}, of {rows:,} tokens"
            )
    tokens = Tokens(
        mode=_integer(item, "forward_mode", where, most=1_000),
        token_id_T=token_id_T,
        position_T=position_T,
        lengths=lengths,
        ids=ids,
    )
    _check_mode(tokens, where)
    return tokens


def _check_mode(tokens: Tokens, where: str) -> None:
    """ValueError: how the tokens hang together cannot be known."""
    if tokens.mode in DRAFT_MODES or not len(tokens.token_id_T):
        return
    if tokens.lengths is None:
        if tokens.mode in (DECODE_MODE, IDLE_MODE):
            return
        raise ValueError(
            f"{where} has forward_mode {tokens.mode} and no extend_seq_lens; only decoding (2), "
            "idle (4) and drafts (5, 6) go without"
        )
    kept = int(tokens.lengths.sum())
    starts = np.cumsum(tokens.lengths)[:-1]
    steps = np.diff(tokens.position_T[:kept])
    inside = np.ones(max(kept - 1, 0), bool)
    inside[starts[(starts > 0) & (starts < kept)] - 1] = False
    if (steps[inside] <= 0).any():
        at = int(np.flatnonzero(inside & (steps <= 0))[0])
        raise ValueError(
            f"{where}: position {tokens.position_T[at + 1]} follows {tokens.position_T[at]} in a "
            "sequence; they ascend"
        )


def _tensor(value: Mapping[object, object], key: str, where: str, *, dimensions: int) -> Tensor:
    found = value.get(key)
    if not isinstance(found, Tensor):
        missing = "is missing" if key not in value else f"is a {type(found).__name__}"
        raise ValueError(f"{where}: {key} {missing}; expected is a tensor of integers")
    if len(found.shape) != dimensions or not found.is_integer:
        raise ValueError(
            f"{where}: {key} is a tensor of {found.storage.dtype} and shape {list(found.shape)}; "
            f"expected are integers in {dimensions} dimensions"
        )
    return found


def _integer(value: Mapping[object, object], key: str, where: str, *, most: int) -> int:
    found = value.get(key)
    if type(found) is not int or not 0 <= found <= most:
        shown = found if type(found) is int else type(found).__name__
        raise ValueError(f"{where}: {key} is {shown}; expected is an integer from 0 to {most:,}")
    return found


def _integers(value: Mapping[object, object], key: str, where: str, *, most: int) -> np.ndarray:
    found = value.get(key)
    if not isinstance(found, list) or not set(map(type, found)) <= {int}:
        what = "other values than integers" if isinstance(found, list) else type(found).__name__
        raise ValueError(f"{where}: {key} is {what}; expected is a list of integers")
    if found and not 0 <= min(found) <= max(found) <= most:
        wrong = min(found) if min(found) < 0 else max(found)
        raise ValueError(f"{where}: {key} has {wrong}; expected are integers from 0 to {most:,}")
    return np.array(found, np.int64)
