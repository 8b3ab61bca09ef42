"""The corpus: duplicates, caps, the split, parts that resume, and the files that are shipped."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from app.commands import corpus
from data import corpora, heldout
from data.duplicates import Duplicates
from data.manifest import manifest
from data.sources import catalogue
from data.sources.packages import PackageCache, PackageError
from data.sources.source import DOMAINS, Source, Text, apt

DATA = Path(__file__).parents[2] / "data"


def words(seed: int, count: int = 400) -> str:
    """About 2.4 KB of text that shares no long sequence with that of another seed."""
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefgh", k=5)) for _ in range(count)) + "\n"


def source(texts: list[str], *, name: str = "source", **changes: object) -> Source:
    fields: dict[str, object] = {
        "domain": "math",
        "licence": "CC0-1.0",
        "packages": (),
        "read": lambda folders: (Text("topic", text) for text in texts),
        "megabytes": 1.0,
    }
    return Source(name=name, **{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., corpora.Tally]:
    """Writes the parts of some sources below tmp_path and joins them."""
    (tmp_path / "parts").mkdir()

    def build_sources(*sources: Source) -> corpora.Tally:
        for one in sources:
            corpora.write_part(one, {}, corpora.part_path(tmp_path, one))
        return corpora.assemble(tmp_path, sources)

    return build_sources


def test_a_copy_and_a_near_copy_are_not_admitted() -> None:
    duplicates, original = Duplicates(), words(1)
    assert duplicates.admit(original)
    assert not duplicates.admit(original)
    assert not duplicates.admit(original[:2000] + words(2, count=60))
    assert duplicates.admit(words(3))


def test_generated_text_may_resemble_but_not_repeat_itself() -> None:
    duplicates, original = Duplicates(), words(1)
    assert duplicates.admit(original, generated=True)
    assert duplicates.admit(original + "7", generated=True)
    assert not duplicates.admit(original, generated=True)


def test_a_source_stops_at_its_megabytes() -> None:
    texts = [words(seed) for seed in range(10)]  # 2,400 bytes each
    found = list(corpora.documents(source(texts, megabytes=0.006), {}))
    assert len(found) == 3


def test_a_sublabel_has_its_own_cap() -> None:
    def read(folders: object) -> Iterator[Text]:
        yield from (Text(language, words(seed)) for seed, language in enumerate("aabab"))

    found = corpora.documents(source([], read=read, megabytes_per_sublabel=0.005), {})
    assert [text.sublabel for text in found] == ["a", "a", "b", "b"]


def test_long_documents_are_whole_only_in_their_domain() -> None:
    text = words(1, count=50_000)  # 300,000 bytes
    (cut,) = corpora.documents(source([text]), {})
    (whole,) = corpora.documents(source([text], domain="long"), {})
    assert len(cut.text) <= 200_000
    assert len(whole.text) == 300_000


def test_the_split_depends_on_the_text_alone() -> None:
    splits = Counter(corpora.split_of("long", str(number)) for number in range(10_000))
    assert splits["heldout"] == pytest.approx(800, abs=80)
    assert corpora.split_of("long", "0") == corpora.split_of("long", "0")
    assert corpora.split_of("math", "69") == "heldout"  # must be the same on every machine


def test_a_copy_in_another_source_is_dropped_from_the_corpus(
    build: Callable[..., corpora.Tally], tmp_path: Path
) -> None:
    shared, own = words(1), words(2)
    tally = build(source([shared], name="first"), source([shared, own], name="second"))
    rows = [
        row
        for split in corpora.SPLITS
        for row in corpora.read_documents(tmp_path / f"{split}.parquet")
    ]
    assert {(row["source"], row["text"]) for row in rows} == {("first", shared), ("second", own)}
    assert tally.documents.total() == 2
    assert tally.text_bytes.total() == len(shared) + len(own)


def test_the_corpus_says_the_group_of_every_text(
    build: Callable[..., corpora.Tally], tmp_path: Path
) -> None:
    works = [Text("topic", words(1), "Emma"), Text("topic", words(2), "Persuasion")]
    build(source([], name="novels", read=lambda folders: iter(works)), source([words(3)]))
    rows = [
        row
        for split in corpora.SPLITS
        for row in corpora.read_documents(tmp_path / f"{split}.parquet")
    ]
    assert {row["text"]: row["group"] for row in rows} == {
        words(1): "novels/Emma",
        words(2): "novels/Persuasion",
        words(3): "source",
    }


def test_a_part_that_was_built_without_groups_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text(json.dumps({"sublabel": "topic", "text": words(1)}) + "\n")
    with pytest.raises(ValueError, match="says no groups; delete"):
        list(corpora.read_part(path))


def test_a_source_without_text_fails_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    with pytest.raises(PackageError, match="no usable text"):
        corpora.write_part(source(["too short"]), {}, path)
    assert not list(tmp_path.iterdir())


def test_a_source_that_cannot_be_fetched_is_named_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done: list[str] = []
    missing = source([], name="wordnet-base", packages=apt("wordnet-base"))
    failures = corpora.build_parts(tmp_path, [missing], done.append)
    assert str(failures["wordnet-base"]) == "apt-get is not on this machine"
    assert done == ["wordnet-base"]


def test_a_source_already_built_is_not_fetched_again(tmp_path: Path) -> None:
    built = source([], name="built", packages=apt("a-package-that-is-nowhere"))
    (tmp_path / "parts").mkdir()
    corpora.part_path(tmp_path, built).touch()
    assert corpora.build_parts(tmp_path, [built], lambda name: None) == {}


def test_a_domain_below_its_floor_is_an_error() -> None:
    sizes = dict.fromkeys(DOMAINS, 20_000_000) | {"code": 19_500_000}
    with pytest.raises(ValueError, match=r"domain code: found 19\.5 MB .* wanted 20 MB"):
        corpora.check_floor(sizes)


def test_a_sample_takes_the_same_amount_of_every_domain(
    build: Callable[..., corpora.Tally], tmp_path: Path
) -> None:
    many = source([words(seed) for seed in range(100)], name="many")
    few = source([words(seed) for seed in range(100, 120)], name="few", domain="other")
    build(many, few)
    texts = set(corpora.sample_texts(tmp_path / "train.parquet", megabytes_per_domain=0.024))
    taken = sum(words(seed) in texts for seed in range(100))
    assert taken == pytest.approx(10, abs=2)
    assert len(texts) - taken == pytest.approx(10, abs=2)


def row(
    number: int, *, name: str = "free", domain: str = "math", group: str = "free"
) -> heldout.Row:
    text = words(number, count=300)  # 1,800 bytes
    return {"domain": domain, "sublabel": "a", "source": name, "group": group, "text": text}


def test_only_publishable_sources_are_published() -> None:
    rows = [row(1), row(2, name="closed")]
    (found,) = heldout.published(rows, frozenset(["free"]))
    assert (found["doc_id"], found["source"]) == (0, "free")


def test_published_documents_come_from_groups_in_turn() -> None:
    rows = [row(number, group="big") for number in range(300)]
    rows += [row(number, group="small") for number in range(300, 320)]
    rows += [row(number, group=f"single {number}") for number in range(320, 330)]
    groups = [document["group"] for document in heldout.published(rows, frozenset(["free"]))]
    assert len(set(groups[:12])) == 12  # all before any has a second one
    few = Counter(groups) - Counter(f"single {number}" for number in range(320, 330))
    assert few == {"big": 210, "small": 20}  # 240 of a domain at most


def test_documents_of_a_group_of_few_are_published_in_two_excerpts() -> None:
    few = [{**row(n, group="few"), "text": words(n, count=1000)} for n in range(3)]  # 6,000 bytes
    many = [{**row(n, group="many"), "text": words(n, count=1000)} for n in range(3, 7)]
    sizes = defaultdict[object, list[int]](list)
    for document in heldout.published([*few, *many], frozenset(["free"])):
        sizes[document["group"]].append(len(str(document["text"])))
    assert len(sizes["few"]) == 6
    assert max(sizes["few"]) <= 2000
    assert len(sizes["many"]) == 4
    assert min(sizes["many"]) > 4000


def test_published_documents_of_the_long_domain_are_excerpts() -> None:
    whole = {**row(1, domain="long"), "text": words(1, count=10_000)}  # 60,000 bytes
    sizes = [len(str(d["text"])) for d in heldout.published([whole], frozenset(["free"]))]
    assert len(sizes) == 8
    assert max(sizes) <= 8000


def test_the_manifest_counts_text_for_the_first_package_of_a_source(tmp_path: Path) -> None:
    packages = apt("texts", "reader")
    for package in packages:
        archive = tmp_path / "apt" / package.name / f"{package.name}_1.0-1_all.deb"
        archive.parent.mkdir(parents=True)
        archive.write_bytes(b"")
    tally = corpora.Tally()
    tally.add("source", "train", 100)
    tally.add("source", "heldout", 10)
    found = manifest([source([], packages=packages)], tally, PackageCache(tmp_path))
    texts, reader, _ = found["packages"]
    assert (texts["name"], texts["version"], texts["documents"]) == ("texts", "1.0-1", 2)
    assert texts["text_bytes"] == {"math": 110}
    assert (reader["name"], reader["documents"]) == ("reader", 0)
    assert found["text_bytes"]["train"]["math"] == 100


def test_the_build_command_ends_with_1_when_a_domain_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "SOURCES", ())
    result = CliRunner().invoke(corpus.app, ["build", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "domain math: found 0.0 MB" in result.stderr


def test_stats_and_tokenize_say_what_to_run_first(tmp_path: Path) -> None:
    for command, advice in (("tokenize", "corpus build"), ("stats", "corpus tokenize")):
        result = CliRunner().invoke(corpus.app, [command, "--corpus", str(tmp_path)])
        assert advice in str(result.exception)


def test_a_corpus_is_tokenized_and_measured(
    build: Callable[..., corpora.Tally], tmp_path: Path
) -> None:
    build(source([words(seed) for seed in range(20)]))
    corpora.write_documents(tmp_path / "published.parquet", [])
    arguments = ["--corpus", str(tmp_path)]
    assert CliRunner().invoke(corpus.app, ["tokenize", *arguments]).exit_code == 0
    result = CliRunner().invoke(corpus.app, ["stats", *arguments, "--json"])
    sizes = json.loads(result.stdout)
    found = sizes["train"]["math"]["text_bytes"] + sizes["heldout"]["math"]["text_bytes"]
    assert found == 20 * len(words(0))
    assert sizes["train"]["code"]["bytes_per_token"] is None


def test_the_shipped_held_out_file_is_balanced_small_and_free() -> None:
    rows = list(corpora.read_documents(DATA / "heldout.parquet"))
    free = {one.name for one in catalogue.SOURCES if one.publishable}
    assert min(Counter(row["domain"] for row in rows).values()) >= 200
    assert sum(len(row["text"].encode()) for row in rows) <= 6_000_000
    assert {row["source"] for row in rows} <= free
    assert [row["doc_id"] for row in rows] == list(range(len(rows)))


def test_every_domain_of_the_shipped_held_out_file_has_a_dozen_groups() -> None:
    rows = list(corpora.read_documents(DATA / "heldout.parquet"))
    domains = {row["group"]: row["domain"] for row in rows}
    assert {(row["group"], row["domain"]) for row in rows} == set(domains.items())
    assert min(Counter(domains.values()).values()) >= 12


def test_the_shipped_results_of_the_comparison_name_their_documents() -> None:
    losses = pq.read_table(DATA / "comparison" / "losses.parquet", columns=["doc_id"])
    documents = pq.read_table(DATA / "comparison" / "documents.parquet").to_pylist()
    assert sorted(set(losses["doc_id"].to_pylist())) == [row["doc_id"] for row in documents]
    assert all(row["group"].startswith(row["source"]) for row in documents)


def test_the_shipped_manifest_names_versions_and_no_hosts() -> None:
    text = (DATA / "corpus_manifest.json").read_text()
    found = json.loads(text)
    assert "://" not in text
    assert min(found["text_bytes"]["train"].values()) >= 20_000_000
    assert sum(found["text_bytes"]["train"].values()) >= 250_000_000
    assert all(package["version"] for package in found["packages"])
