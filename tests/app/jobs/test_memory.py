from pathlib import Path

from app.jobs import memory


def test_a_job_may_take_less_than_the_machine_has() -> None:
    assert 0 < memory.job_memory() < 2**50


def test_the_limits_of_a_container_and_what_is_around_it_count(tmp_path: Path) -> None:
    inner = tmp_path / "kube" / "pod"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("4096\n")
    old = tmp_path / "memory" / "pod"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("8192\n")
    membership = tmp_path / "cgroup"
    membership.write_text("4:memory:/pod\n3:cpu:/pod\n0::/kube/pod\n")
    assert sorted(memory.limits(tmp_path, membership)) == [4096, 8192]
    assert list(memory.limits(tmp_path, tmp_path / "none")) == []
    (inner.parent / "memory.stat").write_text("anon 1000\nfile 3000\n")
    (old / "memory.stat").write_text("rss 5\ntotal_rss 2000\n")
    assert sorted(memory.limits(tmp_path, membership, left=True)) == [3096, 6192]
