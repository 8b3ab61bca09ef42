"""Tasks through a model that always writes the next byte of a known line."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app.studies.programs.runner import CodeLimits
from app.studies.reader import Tracer, text_functions
from app.studies.scoring import COLUMNS, CodeSettings, Evaluated, evaluate_task, records, with_task
from data.routing import Document
from data.tasks.task import Problem, Question, Task
from model.deepseek_moe import DeepSeekMoE
from tests.bigram import bigram_model
from tests.tokenizers import byte_tokenizer

LINE = "f=1\n# "  # after each byte the next with probability 0.744, any other byte with 0.001
BRIEF = CodeSettings(max_new_tokens=8)


@pytest.fixture(scope="module")
def reader() -> Tracer:
    tokenizer = byte_tokenizer()
    table = torch.full((257, 257), 0.001)
    ids = tokenizer.encode(LINE).ids
    for token_id, following in zip([0, *ids], [*ids, 0], strict=True):
        table[token_id, following] = 0.744
    others = torch.tensor([i for i in range(1, 257) if i not in ids])
    table[others] = 1 / 257
    model = bigram_model(table, context_length=16)
    return Tracer(Path(), DeepSeekMoE(model, *text_functions(tokenizer, Path("tokenizer.json"))))


def evaluated(reader: Tracer, task: Task, code: CodeSettings = BRIEF) -> Evaluated:
    progress: list[tuple[int, int]] = []
    found = evaluate_task(
        reader, task, code, seed=0, on_progress=lambda *both: progress.append(both)
    )
    assert progress[-1][0] == progress[-1][1]
    return found


def test_the_known_line_costs_what_its_bytes_cost(reader: Tracer) -> None:
    documents = tuple(Document(doc_id=i, text="f=1\n", domain="code") for i in range(5))
    table = evaluated(reader, Task(name="t", documents=documents)).table
    assert table.estimate.tolist() == pytest.approx([0.4266], abs=1e-3)  # -log2 0.744
    assert table.verdict.tolist() == ["too little data"]  # five texts, all alike


def test_the_likely_continuation_is_chosen(reader: Tracer) -> None:
    right = Question(prompt="f=1", choices=("\n7", "\n#"), answers=(1,))
    wrong = Question(prompt="f=1\n", choices=("7", "#"), answers=(0,))
    long = Question(prompt="z" * 20 + "f=1\n", choices=("#", "7"), answers=(0,))
    found = evaluated(reader, Task(name="t", questions=(right, wrong, long)))
    assert found.cut == 1
    assert found.table.n.tolist() == [3, 3]
    assert found.table.chance.tolist() == [0.5, 0.5]
    assert found.table.estimate.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_programs_pass_fail_and_are_counted(reader: Tracer) -> None:
    passes = Problem(prompt="f", tests="assert f == 1", domain="a")
    fails = Problem(prompt="f", tests="assert f == 2", domain="b")
    found = evaluated(reader, Task(name="t", problems=(passes, fails)))
    table = found.table.set_index("domain")
    assert table.estimate.to_dict() == {"a": 1.0, "b": 0.0, "all": 0.5}
    assert table.chance.tolist() == [0, 0, 0]
    assert found.outcomes == {"passed": 1, "failed": 1, "timed out": 0}


def test_samples_at_temperature_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="3 samples at temperature 0"):
        CodeSettings(samples=3)
    with pytest.raises(ValueError, match="must be 0 or between"):
        CodeSettings(temperature=-1)
    assert CodeSettings(samples=3, temperature=0.8, limits=CodeLimits(seconds=1)).samples == 3


@pytest.mark.slow
def test_several_samples_give_a_share(reader: Tracer) -> None:
    problem = Problem(prompt="f", tests="assert f == 1")
    task = Task(name="t", problems=(problem,))
    found = evaluated(reader, task, replace(BRIEF, samples=4, temperature=1.0))
    assert found.outcomes is not None
    assert sum(found.outcomes.values()) == 4
    assert found.table.estimate[0] == pytest.approx(found.outcomes["passed"] / 4)
    assert found.table.n[0] == 1


def test_rows_are_named_and_a_missing_number_is_null(reader: Tracer) -> None:
    task = Task(name="t", documents=(Document(doc_id=0, text="f=1"),))
    table = with_task(evaluated(reader, task).table, "t")
    assert list(table) == COLUMNS
    [row] = records(table)
    assert (row["task"], row["domain"], row["n"], row["low"]) == ("t", "all", 1, None)
