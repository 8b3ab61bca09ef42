"""What the driver and a worker of `--ray` do, without Ray."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.kept import Kept
from app.studies import ray_capture
from app.studies.ray_capture import merge_shards, require_as_written, shards_of, tasks
from app.studies.ray_cluster import Placement, cluster, placement, require_answer
from app.studies.ray_worker import Shard, Work, Worker, documents_of, table_of
from app.studies.reader import Loading
from data import outputs
from data.connection import TraceError
from data.groups import Grouping
from data.routing import Document
from data.store import open_trace

TEXTS = [Document(doc_id=n, text=f"text {n}", origin=f"p.txt:{n + 1}") for n in range(6)]


@pytest.fixture
def work(tmp_path: Path, folder: Path) -> Work:
    shards = tmp_path / "t.duckdb.shards"
    shards.mkdir()
    return Work(
        folder=shards,
        name="t",
        model=folder,
        loading=Loading(),
        sampling=None,
        kept=Kept(),
        allow_nonfinite=False,
        prompts={"file": "p.txt", "sha256": "0" * 64, "skipped_rows": 0},
        grouping=Grouping(source="near-duplicates", documents=6, groups=6),
        documents=6,
        sampled=6,
        before=None,
    )


def captured(work: Work, documents: list[Document]) -> Shard:
    (row,) = Worker(work)(table_of(documents)).to_pylist()
    return Shard(**row)


@pytest.mark.parametrize(
    ("machines", "workers", "device", "found"),
    [
        ([{"CPU": 8}], None, None, Placement(workers=1, cpus=8)),
        ([{"CPU": 8}, {"CPU": 8}], None, None, Placement(workers=2, cpus=8)),
        ([{"CPU": 8}], 3, None, Placement(workers=3, cpus=2)),
        ([{"CPU": 3}, {"CPU": 3}], 3, None, Placement(workers=3, cpus=1)),
        ([{"CPU": 8, "GPU": 4}, {"CPU": 2}], None, None, Placement(workers=4, cpus=1, gpus=1)),
        ([{"CPU": 8, "GPU": 4}], None, "auto", Placement(workers=1, cpus=1, gpus=4)),
        ([{"CPU": 8, "GPU": 4}], None, "cpu", Placement(workers=1, cpus=8)),
    ],
)
def test_where_workers_go(
    machines: list[dict[str, float]], workers: int | None, device: str | None, found: Placement
) -> None:
    assert placement(machines, workers=workers, device=device) == found


@pytest.mark.parametrize(
    ("machines", "room"),
    [([{"CPU": 2}], "2 with a processor core"), ([{"CPU": 9, "GPU": 1}], "1 with a GPU")],
)
def test_more_workers_than_there_is_room_for_are_refused(
    machines: list[dict[str, float]], room: str
) -> None:
    with pytest.raises(ValueError, match=f"--workers is 3, and the cluster has room for {room}"):
        placement(machines, workers=3, device=None)


@pytest.mark.parametrize("workers", [None, 3])
def test_a_cluster_without_processors_is_refused(workers: int | None) -> None:
    with pytest.raises(ValueError, match="no machine of the cluster offers a processor core"):
        placement([{"CPU": 0, "GPU": 0}, {}], workers=workers, device=None)


def test_tasks_are_of_so_many_documents_or_of_fewer_long_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_capture, "CHARACTERS", 13)
    assert [[one.doc_id for one in task] for task in tasks(TEXTS, size=4)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    monkeypatch.setattr(ray_capture, "CHARACTERS", 1)
    assert [len(task) for task in tasks(TEXTS, size=4)] == [1] * 6
    monkeypatch.setattr(ray_capture, "CHARACTERS", 10**6)
    assert [len(task) for task in tasks(TEXTS, size=4)] == [4, 2]


def test_documents_travel_as_they_are() -> None:
    odd = [
        Document(doc_id=7, text="é\n", domain="math", group="g", origin="p.csv:2"),
        Document(doc_id=2**32 - 1, text=" "),
    ]
    assert documents_of(table_of(odd)) == odd


def test_a_finished_shard_whose_worker_was_lost_is_found_and_not_captured_again(
    work: Work,
) -> None:
    first = captured(work, TEXTS[:3])
    assert captured(work, TEXTS[:3]) == first
    assert [path.name for path in work.folder.iterdir()] == [Path(first.path).name]
    other = captured(work, [TEXTS[0], TEXTS[2]])  # of the same first and last document
    assert other.path != first.path
    assert other.documents == 2


def test_texts_that_end_every_worker_are_refused_at_last(work: Work) -> None:
    for number in range(3):
        (work.folder / f"0000000-0000002.0000000{number}.lost").touch()
    line = captured(work, TEXTS[:3]).error
    assert line.startswith("3 workers were lost at documents 0 to 2, as where memory does not")
    assert captured(work, TEXTS[3:]).documents == 3


def test_a_worker_without_memory_or_without_the_folder_says_so(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(*_: object) -> None:
        raise MemoryError("30 GB")

    monkeypatch.setattr(Worker, "_capture", starve)
    assert captured(work, TEXTS).error == "not enough memory: 30 GB"
    assert list(work.folder.iterdir()) == []  # it ended by itself, so no worker is lost
    work.folder.rmdir()
    assert "give --out in a folder that all machines" in captured(work, TEXTS).error


def test_a_bug_is_not_told_in_one_line(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Worker, "_capture", stumble)
    with pytest.raises(KeyError):
        captured(work, TEXTS)


def test_a_shard_that_is_missing_or_another_is_refused(work: Work) -> None:
    shard = captured(work, TEXTS)
    require_as_written(shard)
    with pytest.raises(ValueError, match=r"is not as .* wrote it"):
        require_as_written(replace(shard, sha256="0" * 64))
    Path(shard.path).unlink()
    with pytest.raises(ValueError, match=r"documents 0 to 5, which .* are not there as it wrote"):
        require_as_written(shard)


def test_workers_begin_their_shards_without_waiting_for_the_driver(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(outputs.time, "sleep", waited.append)
    out = tmp_path / "t.duckdb"
    with shards_of(out, resume=False) as shards:
        captured(work, TEXTS[:3])
        with (
            pytest.raises(ValueError, match=r"another process is writing to .*t\.duckdb\.shards"),
            shards_of(out, resume=False),
        ):
            pass
        assert shards.some()
    assert not waited


def test_shards_of_an_earlier_capture_are_kept_and_others_deleted(
    work: Work, tmp_path: Path
) -> None:
    out = tmp_path / "t.duckdb"
    captured(work, TEXTS[:3])
    captured(work, TEXTS[2:4])  # document 2 again
    left = work.folder / "0000004-0000005.00000000.duckdb.partial"
    foreign = work.folder / "notes.txt"
    left.touch()
    foreign.touch()
    with (
        pytest.raises(ValueError, match="holds an unfinished capture; add --resume"),
        shards_of(out, resume=False),
    ):
        pass
    with pytest.raises(TraceError, match="is unfinished, or being written"):
        open_trace(work.folder)
    with shards_of(out, resume=True) as shards:
        assert shards.stored_doc_ids() == {0, 1, 2}
        shards.require_of(work.prompts)
        with pytest.raises(ValueError, match=r"another prompts.file \(p.txt, now q.txt\)"):
            shards.require_of(work.prompts | {"file": "q.txt"})
        assert not left.exists()
        shards.finished.append(captured(work, TEXTS[3:]))
        with pytest.raises(ValueError, match="6 of 7 documents"):
            merge_shards(shards, out, total=7)
        merge_shards(shards, out, total=6)
    assert out.is_file()
    assert [path.name for path in work.folder.iterdir()] == ["notes.txt"]


def test_a_capture_of_another_model_is_not_continued(
    work: Work, folder_of: Callable[[str], Path]
) -> None:
    shard = captured(work, TEXTS[:3])
    other = replace(work, model=folder_of("mixtral"), before=Path(shard.path))
    assert "was begun with another" in captured(other, TEXTS[3:]).error


def test_there_is_one_driver_and_something_to_continue(tmp_path: Path) -> None:
    out = tmp_path / "t.duckdb"
    with (
        pytest.raises(ValueError, match="to continue; leave out --resume"),
        shards_of(out, resume=True),
    ):
        pass
    with (
        shards_of(out, resume=False),
        pytest.raises(ValueError, match="another process"),
        shards_of(out, resume=False),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ValueError, match=r"install it with: pip install 'routescope\[ray\]'"),
        cluster(),
    ):
        pass


def test_an_address_at_which_nobody_answers_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"nothing answers at 127\.0\.0\.1:1 of RAY"):
        require_answer("127.0.0.1:1")
    for address in ("", "auto", "local", "nonsense"):  # Ray's own words, or its own refusal
        require_answer(address)
