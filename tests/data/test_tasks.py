"""Task files: what is read, and what is refused with line and field."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.tasks.bigbench import read_bigbench
from data.tasks.files import read_task, read_tasks
from data.tasks.task import Problem, Question

CHOICE = {"prompt": "1 + 1 =", "choices": ["2", "3"], "answer": 0}
CODE = {"prompt": "def f():", "tests": "assert f() == 1"}


def jsonl(folder: Path, *lines: Mapping[str, object], name: str = "t.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def bigbench(folder: Path, examples: object, **fields: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "task.json"
    path.write_text(json.dumps({"examples": examples} | fields))
    return path


def test_the_answer_is_an_index_or_the_choice_itself(tmp_path: Path) -> None:
    task = read_task(jsonl(tmp_path, CHOICE, CHOICE | {"answer": "3", "domain": "math"}))
    assert task.questions == (
        Question(prompt="1 + 1 =", choices=("2", "3"), answers=(0,)),
        Question(prompt="1 + 1 =", choices=("2", "3"), answers=(1,), domain="math"),
    )
    assert (task.name, len(task), task.unit) == ("t", 2, "questions")
    assert task.domains() == ["unlabelled", "math"]


@pytest.mark.parametrize(
    ("prompt", "choice", "read"), [("A:", "x", " x"), ("A: ", "x", "x"), ("A:", "\nx", "\nx")]
)
def test_one_blank_stands_before_a_choice(prompt: str, choice: str, read: str) -> None:
    question = Question(prompt=prompt, choices=(choice, "y"), answers=(0,))
    assert question.continuations()[0] == read


def test_an_entry_point_is_handed_to_check(tmp_path: Path) -> None:
    tests = "def check(candidate):\n    assert candidate() == 1"
    task = read_task(jsonl(tmp_path, CODE, CODE | {"tests": tests, "entry_point": "f"}))
    assert task.problems[0] == Problem(prompt="def f():", tests="assert f() == 1")
    assert task.problems[1].tests == f"{tests}\ncheck(f)"


def test_texts_have_domains(tmp_path: Path) -> None:
    task = read_task(jsonl(tmp_path, {"text": "ab", "domain": "x"}, {"text": "cd"}))
    assert [(d.doc_id, d.text, d.domain) for d in task.documents] == [
        (0, "ab", "x"),
        (1, "cd", None),
    ]
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"text": ["ab"], "domain": ["x"]}), path)
    assert read_task(path).documents[0].text == "ab"


def test_human_eval_is_read_from_its_gzip(tmp_path: Path) -> None:
    record = {"task_id": "HumanEval/0", "prompt": "def f():\n", "entry_point": "f"}
    record |= {"test": "def check(candidate): ...", "canonical_solution": "  return 1"}
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(record).encode()))
    task = read_task(path)
    assert task.name == "HumanEval"
    assert task.problems[0].tests == "def check(candidate): ...\ncheck(f)"


def test_bigbench_is_laid_out_as_the_package_does(tmp_path: Path) -> None:
    examples = [{"input": "How many?", "target_scores": {"two": 0, "four": 1, "a few": 1}}]
    task = read_task(bigbench(tmp_path / "legs", examples, task_prefix="Count.\n"))
    prompt = "Count.\n\nQ: How many?\n  choice: a few\n  choice: four\n  choice: two\nA: "
    assert task.name == "legs"
    assert task.questions == (
        Question(prompt=prompt, choices=("two", "four", "a few"), answers=(1, 2)),
    )
    assert task.questions[0].chance == 2 / 3


def test_bigbench_need_not_list_its_choices(tmp_path: Path) -> None:
    fields = {"append_choices_to_input": False, "example_output_prefix": "\nSo: "}
    path = bigbench(tmp_path / "t", [{"input": "x", "target_scores": {"y": 1, "n": 0}}], **fields)
    assert read_bigbench(path, "t").questions[0].prompt == "\nQ: x\nSo: "


def test_bigbench_tasks_are_named_by_their_folders(tmp_path: Path) -> None:
    folder = tmp_path / "benchmark_tasks" / "arithmetic" / "one"
    folder.mkdir(parents=True)
    path = bigbench(folder, [{"input": "x", "target_scores": {"y": 1, "n": 0}}])
    assert read_task(path).name == "arithmetic/one"


def test_a_sample_is_repeatable_ordered_and_of_each_domain_of_texts(tmp_path: Path) -> None:
    lines = [{"text": str(i), "domain": "ab"[i % 2]} for i in range(20)]
    task = read_task(jsonl(tmp_path, *lines))
    some = task.sample(3, seed=1)
    assert some == task.sample(3, seed=1) != task.sample(3, seed=2)
    assert sorted(some.domains()) == ["a"] * 3 + ["b"] * 3
    assert [d.doc_id for d in some.documents] == sorted(d.doc_id for d in some.documents)
    assert task.sample(99, seed=0) == task
    questions = read_task(jsonl(tmp_path, *[CHOICE] * 9, name="q.jsonl"))
    assert len(questions.sample(4, seed=0)) == 4


def without(record: Mapping[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in record.items() if key != name}


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (without(CHOICE, "prompt"), "field 'prompt' is missing"),
        (without(CHOICE, "choices"), "field 'choices' is missing"),
        (without(CHOICE, "answer"), "field 'answer' is missing"),
        (CHOICE | {"prompt": 3}, "field 'prompt' is int"),
        (CHOICE | {"prompt": "\ud800"}, "lone surrogate"),
        (CHOICE | {"choices": ["2"]}, "at least two choices"),
        (CHOICE | {"choices": ["2", " "]}, "choice 1 of field 'choices'"),
        (CHOICE | {"choices": ["2", "2"]}, "the same choice twice"),
        (CHOICE | {"answer": 2}, "'answer' is 2, not an index from 0 to 1"),
        (CHOICE | {"answer": -1}, "'answer' is -1"),
        (CHOICE | {"answer": True}, "'answer' is bool"),
        (CHOICE | {"answer": "B"}, "'answer' is 'B', none of the choices"),
        (CHOICE | {"domain": 1.5}, "the domain is float"),
    ],
)
def test_a_bad_question_is_named_by_line_and_field(
    tmp_path: Path, record: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        read_task(jsonl(tmp_path, CHOICE, record))
    assert str(refused.value).startswith("t.jsonl:2: ")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (without(CODE, "prompt"), "field 'prompt' is missing"),
        (without(CODE, "tests"), "field 'tests' is missing"),
        (CODE | {"tests": " "}, "field 'tests' is empty"),
        (CODE | {"entry_point": "f"}, "needs tests that define check"),
        (CHOICE, "field 'tests' is missing"),
    ],
)
def test_a_bad_problem_is_named_by_line_and_field(
    tmp_path: Path, record: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=f"t.jsonl:2: .*{problem}"):
        read_task(jsonl(tmp_path, CODE, record))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"prompt": "x"}, "t.jsonl:1: field 'choices', 'tests' or 'text' is missing"),
        ({"text": ""}, "t.jsonl:1: field 'text' is empty"),
        ({"test": "x", "prompt": "y"}, "t.jsonl:1: field 'entry_point' is missing"),
    ],
)
def test_the_first_line_says_the_kind(
    tmp_path: Path, record: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        read_task(jsonl(tmp_path, record))


@pytest.mark.parametrize(
    ("examples", "problem"),
    [
        ([{"input": "x"}], "t/task.json: example 0: field 'target_scores' is missing"),
        ([{"input": "x", "target": "y"}], "example 0: .*not multiple choice"),
        ([{"target_scores": {"y": 1, "n": 0}}], "example 0: field 'input' is missing"),
        ([{"input": "x", "target_scores": {"y": "1", "n": 0}}], "does not give each choice"),
        ([3], "example 0 is int"),
        ([], "holds no examples"),
    ],
)
def test_a_bad_bigbench_task_is_refused(
    tmp_path: Path, examples: list[object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        read_task(bigbench(tmp_path / "t", examples))


def test_bigbench_without_examples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"name": "x"}')
    with pytest.raises(ValueError, match="field 'examples' is missing"):
        read_task(path)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.jsonl", b"{", "t.jsonl:1: not JSON"),
        ("t.jsonl", b"", "holds no questions"),
        ("t.jsonl", b"[1]", "t.jsonl:1: list, not an object"),
        ("t.jsonl", b"\xff", "not UTF-8"),
        ("t.jsonl.gz", b"{}", "not a whole gzip file"),
        ("t.jsonl.gz", gzip.compress(b"{}", mtime=0)[:-9], "not a whole gzip file"),
        ("t.json", b"{\n,", "t.json:2: not JSON"),
        ("t.json", b"[]", "list, not an object"),
        ("t.txt", b"x", "not one of .jsonl"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=problem):
        read_task(path)


def test_a_missing_file_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        read_task(tmp_path / "absent.jsonl")
    path = jsonl(tmp_path, CHOICE)
    with pytest.raises(ValueError, match="2 task files are called 't'"):
        read_tasks([path, path])
