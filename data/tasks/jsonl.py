"""Our own task files: one JSON object a line, its fields decide the kind.

- texts: text
- multiple choice: prompt, choices, answer (the index from 0, or the choice itself)
- code: prompt, tests, and entry_point where the tests define `check(candidate)`

Each may have a domain. HumanEval.jsonl is read too. What cannot be read is a ValueError that names
line and field.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.prompts import json_objects
from data.routing import Document
from data.tasks.human_eval import human_eval_problem
from data.tasks.task import (
    Problem,
    Question,
    Task,
    checked_choices,
    domain_of,
    field,
    filled_field,
    text_field,
)


def read_jsonl(path: Path, name: str) -> Task:
    """Every line has the kind of the first."""
    found: list[Any] = []
    read: Callable[[dict[str, Any], str], Any] | None = None
    for number, record in json_objects(path):
        where = f"{path.name}:{number}"
        read = read or reader(record, where)
        found.append(read(record, where))
    if not found:
        raise ValueError(f"{path.name} holds no questions")
    items = tuple(found)
    if isinstance(items[0], Question):
        return Task(name=name, questions=items)
    return Task(name=name, problems=items) if isinstance(items[0], Problem) else texts(name, items)


def texts(name: str, items: tuple[tuple[str, str | None], ...]) -> Task:
    numbered = (
        Document(doc_id=doc_id, text=text, domain=domain)
        for doc_id, (text, domain) in enumerate(items)
    )
    return Task(name=name, documents=tuple(numbered))


def reader(record: dict[str, Any], where: str) -> Callable[[dict[str, Any], str], Any]:
    if "choices" in record or "answer" in record:
        return question
    if "test" in record:
        return human_eval_problem
    if "tests" in record or "entry_point" in record:
        return problem
    if "text" in record:
        return document
    shown = ", ".join(repr(name[:40]) for name in list(record)[:10]) or "none"
    raise ValueError(
        f"{where}: field 'choices', 'tests' or 'text' is missing, which says the kind of task; "
        f"found {shown}"
    )


def question(record: dict[str, Any], where: str) -> Question:
    prompt = text_field(record, "prompt", where)
    choices = checked_choices(field(record, "choices", where), where, name="choices")
    answer = field(record, "answer", where)
    if isinstance(answer, str):
        if answer not in choices:
            raise ValueError(f"{where}: field 'answer' is {answer[:40]!r}, none of the choices")
        answer = choices.index(answer)
    if not isinstance(answer, int) or isinstance(answer, bool):
        raise ValueError(
            f"{where}: field 'answer' is {type(answer).__name__}, not an index or text"
        )
    if not 0 <= answer < len(choices):
        raise ValueError(
            f"{where}: field 'answer' is {answer}, not an index from 0 to {len(choices) - 1}"
        )
    return Question(
        prompt=prompt, choices=choices, answers=(answer,), domain=domain_of(record, where)
    )


def problem(record: dict[str, Any], where: str) -> Problem:
    prompt = filled_field(record, "prompt", where)
    tests = filled_field(record, "tests", where)
    if record.get("entry_point") is not None:
        if "def check(" not in tests:
            raise ValueError(
                f"{where}: field 'entry_point' needs tests that define check(candidate)"
            )
        tests += f"\ncheck({filled_field(record, 'entry_point', where)})"
    return Problem(prompt=prompt, tests=tests, domain=domain_of(record, where))


def document(record: dict[str, Any], where: str) -> tuple[str, str | None]:
    return filled_field(record, "text", where), domain_of(record, where)
