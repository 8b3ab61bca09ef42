"""Names on the hub, and who may download."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from app import hub
from app.jobs import hub as job
from app.jobs.worker import Progress


@pytest.mark.parametrize("name", ["org/model", "Org-1/Model_2.5-B", "a/b"])
def test_names_are_an_organization_and_a_model(name: str) -> None:
    assert hub.is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "model", "a/b/c", "../b", "a/..", "/etc/passwd", "a/b\n", " a/b", "a/b?x", "a/ü"),
        *("a--b/c", "-a/b", "a/.b", "a//b", "https://x/y", "a\\b/c", "a/" + "b" * 97, "a/b@main"),
    ],
)
def test_anything_else_is_no_name(name: str) -> None:
    assert not hub.is_name(name)


def test_without_the_option_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(hub, "download", lambda name, **options: asked.append(name))
    for value in (None, "0", "", "true"):
        monkeypatch.delenv(hub.ALLOWED, raising=False)
        if value is not None:
            monkeypatch.setenv(hub.ALLOWED, value)
        with pytest.raises(ValueError, match="start it with --allow-hub"):
            job.run(Progress(tmp_path), "org/model")
    monkeypatch.setenv(hub.ALLOWED, "1")
    with pytest.raises(ValueError, match="give ORGANIZATION/NAME"):
        job.run(Progress(tmp_path), "../org/model")
    assert asked == []
    job.run(Progress(tmp_path), "org/model")
    assert asked == ["org/model"]


def test_without_a_network_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.ALLOWED, "1")
    with pytest.raises(ValueError, match=r"^it cannot be had from the Hugging Face hub: [^\n]+$"):
        job.run(Progress(tmp_path), "org-that/is-not-there")


def test_a_dense_model_is_refused_by_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[list[str]] = []

    def fetch(name: str, **chosen: Any) -> Path:
        fetched.append(chosen["allow_patterns"])
        LlamaConfig(hidden_size=8, num_attention_heads=1).save_pretrained(tmp_path)
        return tmp_path

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(ValueError, match="is dense"):
        hub.download("org/model")
    assert fetched == [["config.json"]]


def test_what_has_experts_is_fetched_whole(
    folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[list[str]] = []

    def fetch(name: str, **chosen: Any) -> Path:
        fetched.append(chosen["allow_patterns"])
        return folder_of("mixtral")

    monkeypatch.setattr(hub, "fetch", fetch)
    assert hub.download("org/model") == folder_of("mixtral")
    assert fetched == [["config.json"], hub.FILES]


def test_the_bytes_on_disk_are_the_progress(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    bar = job.bar(Progress(tmp_path, told.append))
    files = bar(total=3, unit="it", mininterval=0)
    files.update(1)
    bytes_ = bar(name=job.COUNTED, total=0, unit="B", mininterval=0)
    bytes_.total = 10 << 20
    bytes_.update(4 << 20)
    bytes_.refresh()
    assert told[-1] == {"done": 4, "total": 10, "unit": "MB"}
    assert all(one["unit"] == "MB" for one in told)
