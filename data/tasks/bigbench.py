"""task.json of the package bigbench (arXiv 2206.04615). For evaluation only: it carries a canary.

The prompt is laid out as the package does without examples, but listed choices are sorted, not
shuffled. Right is every choice of the highest score.
"""

import math
from pathlib import Path

from data.lines import lines, parsed_json
from data.tasks.task import Question, Record, Task, checked_choices, field, text_field


def read_bigbench(path: Path, name: str) -> Task:
    """Only multiple choice; an error names the example, counted from 0."""
    description = parsed(path)
    place = f"{path.parent.name}/{path.name}"
    examples = field(description, "examples", place)
    if not isinstance(examples, list) or not examples:
        raise ValueError(f"{place}: field 'examples' holds no examples")
    questions = tuple(
        question(example, description, f"{place}: example {number}")
        for number, example in enumerate(examples)
    )
    return Task(name=name, questions=questions)


def parsed(path: Path) -> Record:
    description = parsed_json("".join(line for _, line in lines(path)), path.name)
    if not isinstance(description, dict):
        raise ValueError(f"{path.name} is {type(description).__name__}, not an object")
    return description


def question(example: object, description: Record, where: str) -> Question:
    if not isinstance(example, dict):
        raise ValueError(f"{where} is {type(example).__name__}, not an object")
    if "target" in example and "target_scores" not in example:
        raise ValueError(f"{where}: field 'target_scores' is missing: it is not multiple choice")
    scores = field(example, "target_scores", where)
    if not isinstance(scores, dict) or not all(
        isinstance(score, int | float) and -math.inf < score < math.inf for score in scores.values()
    ):
        raise ValueError(
            f"{where}: field 'target_scores' does not give each choice a finite number"
        )
    choices = checked_choices(list(scores), where, name="target_scores")
    best = max(scores.values())
    return Question(
        prompt=prompt(text_field(example, "input", where), choices, description),
        choices=choices,
        answers=tuple(i for i, score in enumerate(scores.values()) if score == best),
        where=where,
    )


def prompt(text: str, choices: tuple[str, ...], description: Record) -> str:
    listed = ""
    if description.get("append_choices_to_input", True):
        before = str(description.get("choice_prefix", "\n  choice: "))
        listed = "".join(before + choice for choice in sorted(choices))
    return "".join(
        [
            str(description.get("task_prefix", "")),
            str(description.get("example_input_prefix", "\nQ: ")),
            text,
            listed,
            str(description.get("example_output_prefix", "\nA: ")),
        ]
    )
