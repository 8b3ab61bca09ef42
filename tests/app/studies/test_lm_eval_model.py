"""A real harness task of a local file, and the harness's own requests, agree with our functions."""

import json
from pathlib import Path

import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from app.commands.evaluate import LM_EVAL, harness_runner
from app.studies.lm_eval_model import RouteScopeLM, harness_rows, require_loadable, task_rows
from app.studies.reader import Tracer, load_reader
from app.studies.scoring import CodeSettings, evaluate_task
from data.tasks.files import read_task
from model.completion import complete
from model.encoded import encode_text
from model.likelihood import continuation, log_likelihoods, text_windows

TASK = """
task: toy
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc}}, {{metric: acc_norm}}, {{metric: acc_bytes}}]
"""
QUESTIONS = [
    {
        "prompt": f"{i} + {i} =",
        "choices": [str(2 * i), "many", f"é{i}", "no"][: 2 + i % 3],
        "answer": i % 2,
    }
    for i in range(24)
]


@pytest.fixture(scope="module")
def reader(folder: Path) -> Tracer:
    return load_reader(folder)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    data = tmp_path / "toy.jsonl"
    data.write_text("\n".join(map(json.dumps, QUESTIONS)))
    (tmp_path / "toy.yaml").write_text(TASK.format(data=data, cache=tmp_path / "cache"))
    return tmp_path


def requests(kind: str, *arguments: tuple) -> list[Instance]:
    return [
        Instance(request_type=kind, doc={}, arguments=given, idx=i)
        for i, given in enumerate(arguments)
    ]


@pytest.mark.slow
def test_a_harness_task_scores_what_our_own_multiple_choice_scores(
    reader: Tracer, tasks: Path
) -> None:
    table, [fact] = harness_rows(
        reader,
        ["toy"],
        include=tasks,
        limit=None,
        run_code=False,
        on_progress=lambda done, total: None,
    )
    own = evaluate_task(
        reader,
        read_task(tasks / "toy.jsonl"),
        CodeSettings(),
        seed=0,
        on_progress=lambda done, total: None,
    ).table
    harness, ours = table.set_index("metric"), own.set_index("metric")
    numbers = ["domain", "estimate", "low", "high", "chance", "n", "verdict"]
    assert harness.loc[["acc", "acc_bytes"], numbers].values.tolist() == (
        ours.loc[["acc", "acc_norm"], numbers].values.tolist()
    )
    assert fact == {"task": "toy", "unit": "questions", "used": 24, "total": 24}
    assert 0 < ours.estimate["acc"] < 1


def test_requests_are_answered_with_the_numbers_of_our_functions(reader: Tracer) -> None:
    model = RouteScopeLM(reader=reader)
    asked = requests("loglikelihood", ("1+1=", "2"), ("", "ab"), ("z" * 40, "x"))
    found = model.loglikelihood(asked)
    sequences = [continuation(reader.model, *request.args) for request in asked]
    ours = log_likelihoods(reader.model, sequences)
    assert found == [tuple(likelihood) for likelihood in ours]
    assert [type(greedy) for _, greedy in found] == [bool] * 3


def test_rolling_scores_every_byte_of_a_text(reader: Tracer) -> None:
    model = RouteScopeLM(reader=reader)
    short, long, empty = model.loglikelihood_rolling(
        requests("loglikelihood_rolling", ("twelve bytes",), ("a" * 40,), ("",))
    )
    [window] = text_windows(reader.model, encode_text(reader.model, "twelve bytes"))
    assert short == pytest.approx(log_likelihoods(reader.model, [window])[0].nats)
    assert long == pytest.approx(-40 * np.log(257), rel=0.1)  # an untrained model
    assert empty == 0


@pytest.mark.slow
def test_generation_stops_where_the_task_says(reader: Tracer) -> None:
    model = RouteScopeLM(reader=reader)
    ours = complete(
        reader.model,
        "ab",
        stops=[],
        max_new_tokens=6,
    ).text
    [text, stopped, long] = model.generate_until(
        requests(
            "generate_until",
            ("ab", {"max_gen_toks": 6}),
            ("ab", {"until": [ours[1:2]], "max_gen_toks": 6}),
            ("ab", {}),
        )
    )
    assert (text, stopped) == (ours, ours[: ours.index(ours[1:2])])
    assert long.startswith(text)
    assert len(encode_text(reader.model, long)) <= 8  # half the context


def test_the_harness_knows_it_by_name(folder: Path) -> None:
    assert get_model("routescope") is RouteScopeLM
    arguments = f"folder={folder}"
    model = get_model("routescope").create_from_arg_string(arguments, {"batch_size": 1})
    assert model.reader.folder == folder


def test_a_figure_that_is_no_share_keeps_the_harness_error() -> None:
    results = {
        "results": {"t": {"name": "t", "sample_len": 2, "ppl,none": 9.0, "ppl_stderr,none": 1.0}},
        "samples": {
            "t": [{"filter": "none", "ppl": (1.0, 2), "arguments": [("x",)], "target": ""}]
        },
    }
    [row] = task_rows(results, "t").to_dict("records")
    assert (row["metric"], row["estimate"], row["verdict"]) == ("ppl", 9.0, "chance unknown")
    assert row["low"] == pytest.approx(9 - 1.96, abs=0.001)


def test_written_answers_keep_their_share_without_a_chance_and_an_empty_group_has_no_row() -> None:
    sample: dict[str, object] = {"filter": "none", "arguments": [("x", {})], "target": "y"}
    results = {
        "results": {"t": {"exact_match,none": 0.5}, "group": {"alias": "group"}},
        "samples": {"t": [sample | {"exact_match": share} for share in (0.0, 1.0)]},
    }
    [row] = task_rows(results, "t").to_dict("records")
    assert (row["estimate"], row["n"], row["verdict"]) == (0.5, 2, "chance unknown")
    assert 0 < row["low"] < 0.5 < row["high"] < 1
    assert len(task_rows(results, "group")) == 0


def test_an_unknown_and_an_unreadable_task_are_one_line(tasks: Path) -> None:
    lost = TASK.format(data="absent.jsonl", cache="c").replace("toy", "lost")
    (tasks / "lost.yaml").write_text(lost)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    require_loadable(manager, ["toy"])
    for name, problem in (("nothing", "no task 'nothing'"), ("lost", "'lost' cannot be loaded")):
        with pytest.raises(ValueError, match=problem) as refused:
            require_loadable(manager, [name])
        assert "\n" not in str(refused.value)


def test_the_pinned_version_is_the_one_that_is_tested() -> None:
    pinned = (Path(__file__).parents[3] / "requirements-dev.txt").read_text().splitlines()
    assert LM_EVAL in pinned
    assert harness_runner() is harness_rows
