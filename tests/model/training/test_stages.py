"""Stages: what the article says, in steps; a table that cannot be is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from model.training.stages import Stage, article_stages, check_stages, read_stages, spans, without


def test_the_schedule_of_the_article() -> None:
    stages = article_stages()
    assert [stage.percent for stage in stages] == [30, 50, 20]
    assert [stage.batch * 4 for stage in stages] == [4, 2, 1]  # M tokens
    assert [stage.learning_rate * 3e-4 for stage in stages] == pytest.approx([3e-4, 1e-4, 5e-5])
    assert [(stage.min_k, stage.max_k) for stage in stages] == [(8, 32), (32, 128), (128, 256)]
    check_stages(stages, num_experts=256, router="dsr")


def test_a_smaller_batch_takes_more_steps_for_its_share() -> None:
    found = spans(article_stages(), steps=100, batch_size=8)
    assert [span.batch_size for span in found] == [8, 4, 2]
    # 800 sequences: 240 / 8, 400 / 4, 160 / 2
    assert [(span.first, span.end) for span in found] == [(0, 30), (30, 130), (130, 210)]


def test_a_curriculum_ramps_the_length_in_three_parts() -> None:
    span = spans(article_stages(), steps=100, batch_size=8)[0]
    assert [span.cuts(step) for step in (0, 9, 10, 19, 20, 29)] == [4, 4, 2, 2, 1, 1]
    plain = spans(without(article_stages(), curriculum=True), steps=100, batch_size=8)[0]
    assert plain.cuts(0) == 1


def test_each_part_can_be_switched_off() -> None:
    plain = without(article_stages(), adversarial=True)
    assert [(stage.curriculum, stage.adversarial) for stage in plain] == [
        (True, False),
        (False, False),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"percent": 40}, "40 \\+ 50 \\+ 20 = 110 % of the tokens; make it 100 %"),
        ({"max_k": 300}, "up to 300 experts, the model has 256"),
        ({"max_k": 4}, "activates 8 to 4 experts"),
        ({"max_k": None}, "needs both min_k and max_k"),
        ({"top_p": 1.5}, "top_p of stage 'incubation' is 1.5"),
        ({"batch": 2.0}, "batch of stage 'incubation' is 2"),
        ({"percent": 0}, "takes 0 %"),
    ],
)
def test_a_table_that_cannot_be_is_refused(changes: dict[str, float], said: str) -> None:
    def table() -> None:
        first, *rest = article_stages()
        changed = (replace(first, **changes), *rest)  # type: ignore[arg-type]
        check_stages(changed, num_experts=256, router="dsr")

    with pytest.raises(ValueError, match=said):
        table()


def test_only_a_dynamic_router_activates_more_and_more() -> None:
    with pytest.raises(ValueError, match="only the dsr router can; the model has the softmax"):
        check_stages(article_stages(), num_experts=256, router="softmax")


def test_a_stage_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="'incubation' would take 0 steps of 8 sequences"):
        spans(article_stages(), steps=1, batch_size=8)


def write(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_a_table_comes_from_json(tmp_path: Path) -> None:
    rows = [{"name": "a", "percent": 25, "batch": 0.5}, {"name": "b", "percent": 75}]
    assert read_stages(write(tmp_path / "stages.json", rows)) == (
        Stage(name="a", percent=25, batch=0.5),
        Stage(name="b", percent=75),
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "not a stage table"),
        ({"name": "a"}, "not a stage table"),
        ([{"name": "a", "percent": 100, "rate": 1}], "unknown fields \\['rate'\\]"),
        ([{"name": "a"}], "lacks \\['percent'\\]"),
        ([{"name": "a", "percent": "all"}], "percent of stage 1 .* is 'all'"),
        ([{"name": "a", "percent": 100, "min_k": 1.5}], "min_k of stage 1 .* is 1.5"),
        ([{"name": "a", "percent": 100, "curriculum": 1}], "curriculum of stage 1 .* is 1"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, rows: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_stages(write(tmp_path / "stages.json", rows))


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('[{"name"', encoding="utf-8")
    with pytest.raises(ValueError, match="is not JSON"):
        read_stages(tmp_path / "cut.json")
    with pytest.raises(ValueError, match="cannot be read"):
        read_stages(tmp_path / "none.json")
