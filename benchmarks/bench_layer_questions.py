"""What one layer of a trace costs: words, information, pairs, transitions; seconds and memory.

python -m benchmarks.bench_layer_questions TRACE --layers 1 2 3
"""

import argparse
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from duckdb import DuckDBPyConnection

from analysis import arrays, queries
from analysis.information_table import information_row
from analysis.pairs import pair_significance
from analysis.transitions import transition_significance
from analysis.vocabulary_rows import layer_row, layer_tests
from data.store import open_trace


def questions(con: DuckDBPyConnection, layer_id: int) -> dict[str, Callable[[], object]]:
    info = queries.trace_info(con)
    sizes = [info.layers[layer].num_experts for layer in (layer_id, layer_id + 1)]
    domains = queries.documents(con).set_index("doc_id").domain

    def words() -> object:
        return layer_row(*layer_tests(con, layer_id), sizes[0])

    def information() -> object:
        choices = arrays.layer_sample(con, info, layer_id)
        return information_row(choices, domains, info, layer_id=layer_id)

    def pairs() -> object:
        choices = arrays.layer_sample(con, info, layer_id)
        return pair_significance(*arrays.choice_array(choices, sizes[0]))

    def transitions() -> object:
        here, following = (
            arrays.layer_sample(con, info, layer) for layer in (layer_id, layer_id + 1)
        )
        both = arrays.transition_choices(here, following, (sizes[0], sizes[1]))
        return transition_significance(*both)

    return {f.__name__: f for f in (words, information, pairs, transitions)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3])
    asked = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with open_trace(asked.trace) as con:
        for layer_id in asked.layers:
            for name, question in questions(con, layer_id).items():
                start = perf_counter()
                question()
                seconds.setdefault(name, []).append(perf_counter() - start)
        print("| question | seconds a layer | most MB of arrays |\n|---|---|---|")
        for name, question in questions(con, asked.layers[0]).items():
            tracemalloc.start()
            question()
            peak = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
            print(f"| {name} | {median(seconds[name]):.2f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
