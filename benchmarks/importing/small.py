"""Small right dumps of formats whose speed is not measured: for mistakes to be made in them."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.importing.dumps import Shape
from data.exports.tables import write_tables
from data.store import TraceStore, open_trace
from tests.data.importers.engine_dumps import pass_record, save_loads, save_records
from tests.data.importers.parquet_folders import full_batch
from tests.data.importers.research_dumps import policylang_file
from tests.routing_batches import description


def sglang_csv(folder: Path, shape: Shape) -> None:
    rows = [f"{layer},{expert},{layer + expert}\n" for layer in range(3) for expert in range(8)]
    path = folder / "expert_distribution_rank0_timestamp1.csv"
    path.write_text("layer_id,expert_id,count\n" + "".join(rows))


def sglang_passes(folder: Path, shape: Shape) -> None:
    records = [pass_record(number, [[3, 1, 0, 4], [2, 2, 2, 2]]) for number in range(3)]
    save_records(folder / "expert_distribution_recorder_1_0.pt", records)


def mcore(folder: Path, shape: Shape) -> None:
    save_loads(folder / "loads.npz", [[[3, 1, 0, 4], [2, 2, 2, 2]]] * 2)


def policylang(folder: Path, shape: Shape) -> None:
    rows = [
        {"p": 0, "t": token, "l": layer, "e": [0, 1], "s": [0.6, 0.2]}
        for token in range(3)
        for layer in range(2)
    ]
    (folder / "trace.jsonl").write_text(policylang_file(rows))


def usage(folder: Path, shape: Shape) -> None:
    (folder / ".coli_usage").write_text("-1 2 4\n-2 1 2\n0 0 3\n0 3 1\n1 1 4\n")


def profile(folder: Path, shape: Shape) -> None:
    layer = {
        "total_tokens": 4,
        "activation_counts": [3, 1, 0, 4],
        "avg_gate_weight": [0.6, 0.4, 0.0, 0.5],
        "never_activated": [2],
    }
    (folder / "profile.json").write_text(json.dumps({"0": layer, "1": layer}))


def profiler_csv(folder: Path, shape: Shape) -> None:
    rows = "".join(f"{layer},{expert},2,0.125\n" for layer in range(3) for expert in range(8))
    (folder / "profile.csv").write_text("layer,expert,count,frac_of_layer\n" + rows)


def answers_of(kind: str) -> Callable[[Path, Shape], None]:
    """SGLang's, NeMo Gym's, prime-rl's or vLLM 0.21's: three of one text."""

    def write(folder: Path, shape: Shape) -> None:
        ids_TLK = next(shape.texts())[1][:4].astype(np.int32)
        raw = base64.b64encode(ids_TLK.tobytes()).decode()
        small = base64.b64encode(ids_TLK.astype(np.uint8).tobytes()).decode()
        dimensions = "x".join(map(str, ids_TLK.shape))
        meta = {"id": "a", "prompt_tokens": 4, "completion_tokens": 1, "routed_experts": raw}
        kinds: dict[str, dict[str, object]] = {
            "sglang": {"text": "a", "output_ids": [1], "meta_info": meta},
            "nemo": {"routed_experts": f"nrlre1:int32:{dimensions}:{raw}"},
            "prime": {
                "token_ids": [1, 2, 3, 4],
                "routed_experts": {"data": small, "shape": list(ids_TLK.shape), "start": 0},
            },
            "vllm": {
                "prompt_routed_experts": ids_TLK[:3].tolist(),
                "choices": [{"text": "b", "routed_experts": ids_TLK[3:].tolist()}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2},
            },
        }
        (folder / "answers.jsonl").write_text((json.dumps(kinds[kind]) + "\n") * 3)

    return write


def parquet(folder: Path, shape: Shape) -> None:
    trace = folder.parent / f"{folder.name}.duckdb"
    with TraceStore.create(trace, description(top_k=None)) as store:
        store.write(full_batch())
    with open_trace(trace) as con:
        write_tables(con, folder, parquet=True)
    trace.unlink()


SMALL: dict[str, Callable[[Path, Shape], None]] = {
    "sglang-csv": sglang_csv,
    "sglang-passes": sglang_passes,
    "mcore-npz": mcore,
    "policylang": policylang,
    "coli-usage": usage,
    "llamacpp-profile": profile,
    "llamacpp-profiler": profiler_csv,
    "answers-sglang": answers_of("sglang"),
    "answers-nemo": answers_of("nemo"),
    "answers-prime": answers_of("prime"),
    "answers-vllm": answers_of("vllm"),
    "parquet": parquet,
}
EXPERTS = dict.fromkeys(  # the others have 8
    ("sglang-passes", "mcore-npz", "policylang", "coli-usage", "llamacpp-profile"), 4
)
