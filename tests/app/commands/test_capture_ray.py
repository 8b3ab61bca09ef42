"""`--ray`: the workers of a cluster write what one process writes, also where some are lost."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.studies import ray_capture, ray_worker
from app.studies.ray_capture import Shards
from app.studies.ray_cluster import QUIET
from tests.app.commands.alike import assert_alike, description
from tests.app.commands.captures import refused, run, write
from tests.app.commands.killed_workers import KilledWorker

TEXTS = "text,domain\n" + "".join(
    f"{'ab ' * (n % 5)}number {n},{('math', 'code')[n % 2]}\n" for n in range(40)
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Of this machine, for two workers."""
    os.environ.update(QUIET)
    ray = pytest.importorskip("ray")
    quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.CRITICAL}
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=100 << 20,
        include_dashboard=False,
        **quiet,
    )
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def few_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of each worker instead of eight: a shard takes a moment."""
    monkeypatch.setattr(ray_capture, "TASKS", 3)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write(tmp_path / "p.csv", TEXTS)


def both(tmp_path: Path, prompts: Path, *options: object) -> tuple[Path, Path, dict[str, int]]:
    """The trace of one process, that of two workers, and their figures."""
    one, two = tmp_path / "one" / "t.duckdb", tmp_path / "t.duckdb"
    assert run(prompts, "--out", one, *options).exit_code == 0
    result = run(prompts, "--out", two, *options, "--ray", "--workers", 2, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return one, two, json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.exhaustive  # test_the_documents_of_lost_workers compares such traces too
def test_two_workers_capture_what_one_process_does(
    tmp_path: Path, prompts: Path, folder: Path, cluster: None
) -> None:
    options = ("--model", folder, "--sample", "0.6", "--layers", "1")
    one, two, figures = both(tmp_path, prompts, *options)
    assert figures["documents"] == 24
    assert figures["lost_workers"] == 0
    assert_alike(one, two)
    assert description(two) == description(one)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "p.csv", "t.duckdb"]


@pytest.mark.slow
def test_two_workers_continue_texts_with_a_model_of_transformers(
    tmp_path: Path, prompts: Path, folder_of: Callable[[str], Path], cluster: None
) -> None:
    options = ("--model", folder_of("mixtral"), "--generate", 3, "--temperature", 1, "--seed", 5)
    one, two, _ = both(tmp_path, prompts, *options, "--sample", "9")
    assert_alike(one, two)
    assert description(two) == description(one)


@pytest.mark.slow
def test_the_documents_of_lost_workers_are_captured_again_and_none_twice(
    tmp_path: Path,
    prompts: Path,
    folder: Path,
    cluster: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_worker, "Worker", KilledWorker)
    one, two, figures = both(tmp_path, prompts, "--model", folder)
    killed = {path.name for path in tmp_path.glob("killed_*")}
    assert killed == {"killed_middle", "killed_after"}
    assert figures["documents"] == 40
    assert figures["lost_workers"] == 1  # the other one had finished its shard
    assert_alike(one, two)


@pytest.mark.slow
def test_what_a_worker_refuses_is_one_line_and_what_is_done_stays(
    tmp_path: Path, folder: Path, cluster: None
) -> None:
    out, shards = tmp_path / "t.duckdb", tmp_path / "t.duckdb.shards"
    prompts = write(tmp_path / "p.txt", "".join(f"{n} eggs\n" for n in range(8)))
    given = (prompts, "--out", out, "--model", folder, "--ray")
    assert "the cluster has room for 2" in refused(run(*given, "--workers", 3))
    assert "config.json is missing" in refused(
        run(prompts, "--out", out, "--model", tmp_path, "--ray")
    )
    assert not shards.exists()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_what_lacks_its_merge_alone_is_continued_as_it_was_begun(
    tmp_path: Path, prompts: Path, folder: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(shards: Shards, out: Path, *, total: int) -> None:
        (shards.folder / out.name).write_bytes(b"merged, and not moved")
        raise ValueError("lost")

    out = tmp_path / "t.duckdb"
    given = (prompts, "--out", out, "--model", folder, "--ray", "--workers", 2)
    with monkeypatch.context() as patch:
        patch.setattr(ray_capture, "merge_shards", lost)
        assert "add --resume" in refused(run(*given))
    line = refused(run(*given, "--resume", "--layers", "0"))
    assert "was begun with another num_layers (2, now 1)" in line
    result = run(*given, "--resume", "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    figures = json.loads(result.stdout)
    assert (figures["documents"], figures["resumed_documents"]) == (0, 40)
    assert description(out)["num_layers"] == 2
    assert not (tmp_path / "t.duckdb.shards").exists()
