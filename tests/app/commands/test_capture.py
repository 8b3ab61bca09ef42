import json
import shutil
from pathlib import Path

import pytest
import typer
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from app.commands import merge
from app.studies.reader import Sampling
from data.merge import merge_traces
from data.store import open_trace
from data.trace_paths import partial_path
from tests.app.commands.captures import refused, run, write

MERGE = typer.Typer()
MERGE.command()(merge.merge)


def test_capture_stores_every_prompt_and_prints_its_figures(tmp_path: Path, folder: Path) -> None:
    prompts = write(tmp_path / "p.csv", 'text,domain\nhello,math\n"é, a long line: cut",\n ,x\n')
    out = tmp_path / "t.duckdb"
    result = run(prompts, "--out", out, "--model", folder, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["documents"] == 2
    assert figures["tokens"] == 5 + 15
    assert figures["truncated_documents"] == 1
    assert figures["truncated_tokens"] == 20 - 15
    assert figures["skipped_rows"] == 1
    assert figures["path"] == str(out)
    with open_trace(out) as trace:
        documents = trace.execute(
            "SELECT domain, text, origin FROM document ORDER BY doc_id"
        ).fetchall()
        pieces = trace.execute("SELECT text FROM token WHERE doc_id = 1").fetchall()
        config = json.loads(trace.execute("SELECT config FROM trace").fetchall()[0][0])
    assert documents == [("math", "hello", "p.csv:2"), (None, "é, a long line: cut", "p.csv:3")]
    assert [piece[0] for piece in pieces[:4]] == ["", "é", ",", " "]
    assert config["truncated"] == {"documents": 1, "tokens": 5}
    assert config["model"]["num_experts"] == 8
    assert config["capture"]["prompts"]["file"] == "p.csv"
    assert set(config["versions"]) == {"routescope", "torch", "python"}


def test_capture_says_in_words_what_was_cut_and_skipped(tmp_path: Path, folder: Path) -> None:
    prompts = write(tmp_path / "p.csv", "text\nshort\na text of more than 15\n \n")
    result = run(prompts, "--out", tmp_path / "t.duckdb", "--model", folder)
    assert "2 documents, 20 tokens" in result.stdout
    assert "1 document was longer than the context: 7 tokens cut" in result.stdout
    assert "note: 1 row has no text and was left out: line 4" in result.stdout


def test_capture_notes_columns_that_it_does_not_use(tmp_path: Path, folder: Path) -> None:
    prompts = write(tmp_path / "p.csv", "text,label\nshort,math\n")
    result = run(prompts, "--out", tmp_path / "t.duckdb", "--model", folder)
    assert "1 document, 5 tokens" in result.stdout
    assert "note: column 'label' is not used; name it domain to use it" in result.stdout


def test_capture_says_which_texts_count_as_one(tmp_path: Path, folder: Path) -> None:
    prompts = write(tmp_path / "p.txt", "same\nother\nsame\n")
    out = tmp_path / "t.duckdb"
    result = run(prompts, "--out", out, "--model", folder)
    line = "1 of 3 texts are equal or nearly equal to another and count as one with it (2 groups)"
    assert line in result.stdout
    with open_trace(out) as trace:
        groups = [
            row[0]
            for row in trace.execute('SELECT "group" FROM document ORDER BY doc_id').fetchall()
        ]
        config = json.loads(trace.execute("SELECT config FROM trace").fetchall()[0][0])
    assert groups[0] == groups[2] is not None
    assert groups[1] is None
    counted = {"from": "near-duplicates", "documents": 3, "groups": 2, "joined": 1}
    assert config["capture"]["groups"] == counted


def test_the_parts_of_a_capture_have_the_groups_of_the_whole_file(
    tmp_path: Path, folder: Path
) -> None:
    prompts = write(tmp_path / "p.csv", "text,group\nsame,\na,Emma\nb,Emma\nsame,\n")
    paths = [tmp_path / f"{place}.duckdb" for place in (1, 2)]
    for place, path in enumerate(paths, start=1):
        part = ("--out", path, "--model", folder, "--part", f"{place}/2", "--json")
        result = run(prompts, *part)
        counted = {"from": "column", "documents": 4, "groups": 2, "joined": 1}
        assert json.loads(result.stdout)["groups"] == counted
    merge_traces(paths, tmp_path / "whole.duckdb")
    with open_trace(tmp_path / "whole.duckdb") as trace:
        groups = [
            row[0]
            for row in trace.execute('SELECT "group" FROM document ORDER BY doc_id').fetchall()
        ]
        config = json.loads(trace.execute("SELECT config FROM trace").fetchall()[0][0])
    assert groups[1:3] == ["Emma", "Emma"]
    assert groups[0] == groups[3] not in (None, "Emma")
    assert config["capture"]["groups"] == counted


def test_generation_is_stored_with_its_sampling(tmp_path: Path, folder: Path) -> None:
    prompts = write(tmp_path / "p.txt", "hi\nyou\n")
    out = tmp_path / "t.duckdb"
    result = run(prompts, "--out", out, "--model", folder, "--generate", 4, "--seed", 7)
    assert result.exit_code == 0, result.output
    with open_trace(out) as trace:
        phases = trace.execute(
            "SELECT doc_id, phase, count(*) FROM token GROUP BY ALL ORDER BY ALL"
        )
        assert phases.fetchall() == [(0, 0, 2), (0, 1, 3), (1, 0, 3), (1, 1, 3)]
        assert trace.execute("SELECT seed FROM trace").fetchall() == [(7,)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.txt", "", "p.txt holds no prompts"),
        ("p.csv", "question\nwhy\n", "no column or field named text or prompt"),
        ("p.jsonl", '{"text": "a"}\n{"text"\n', "p.jsonl:2: not JSON"),
        ("p.txt", "fine\na\0b\n", "p.txt:2: a NUL byte"),
        ("p.csv", "text,domain,group\na,x,g\nb,y,g\n", "p.csv:3: group 'g' has texts of x and"),
        ("p.txt", "x" * 10_000_000, "a line of more than"),
    ],
)
def test_a_bad_file_leaves_nothing_behind(
    tmp_path: Path, folder: Path, name: str, text: str, message: str
) -> None:
    prompts = write(tmp_path / name, text)
    result = run(prompts, "--out", tmp_path / "t.duckdb", "--model", folder)
    assert message in refused(result)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_cannot_be_written_or_loaded_is_refused(tmp_path: Path, folder: Path) -> None:
    prompts = write(tmp_path / "p.txt", "hi\n")
    out = tmp_path / "t.duckdb"
    absent = tmp_path / "absent"
    assert "config.json is missing" in refused(run(prompts, "--out", out, "--model", absent))
    assert run(prompts, "--out", absent / "t.duckdb", "--model", folder).exit_code == 0  # made
    inside = prompts / "t.duckdb"
    assert "is not a folder" in refused(run(prompts, "--out", inside, "--model", folder))
    long = (prompts, "--out", out, "--model", folder, "--generate", 15)
    assert "15 new tokens do not fit" in refused(run(*long))
    hot = (prompts, "--out", out, "--model", folder, "--generate", 2)
    for option, value in (("--temperature", "-1"), ("--top-p", "0")):
        wrong = run(*hot, option, value)
        assert (wrong.exit_code, option in wrong.output) == (2, True)
    assert not out.exists()
    assert not partial_path(out).exists()
    assert run(prompts, "--out", out, "--model", folder).exit_code == 0
    assert "exists; delete it" in refused(run(prompts, "--out", out, "--model", folder))


def test_a_sampling_is_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="at least 1 token"):
        Sampling(new_tokens=0, temperature=1.0, top_p=1.0, seed=0)


def test_help_has_an_example() -> None:
    assert "Example: routescope capture" in run("--help").stdout


@pytest.mark.slow
def test_parts_merge_to_the_trace_of_all(folder: Path, tmp_path: Path) -> None:
    prompts = write(tmp_path / "prompts.txt", "one two\nthree\nfour five\nsix\nseven eight\n")
    whole, parts = tmp_path / "whole.duckdb", [tmp_path / f"{i}.duckdb" for i in (1, 2)]
    assert run(prompts, "--model", folder, "--out", whole).exit_code == 0
    for number, path in enumerate(parts, start=1):
        part = ["--part", f"{number}/2", "--json"]
        result = run(prompts, "--model", folder, "--out", path, *part)
        assert json.loads(result.stdout)["documents"] == 4 - number  # 0, 2, 4, then 1, 3
    merge_traces(parts, tmp_path / "merged.duckdb")
    rows = "SELECT doc_id, position, layer_id, rank, expert_id FROM routing ORDER BY ALL"
    with open_trace(whole) as one, open_trace(tmp_path / "merged.duckdb") as merged:
        assert one.execute(rows).fetchall() == merged.execute(rows).fetchall()


@pytest.mark.parametrize(
    "part", ["0/2", "3/2", "1", "1/0", "a/b", "1/1000001", "1/" + "9" * 20, "1/٢"]
)
def test_a_part_that_is_none_is_refused(folder: Path, tmp_path: Path, part: str) -> None:
    prompts = write(tmp_path / "prompts.txt", "one\n")
    out = tmp_path / "x.duckdb"
    result = run(prompts, "--model", folder, "--out", out, "--part", part)
    assert "give I/N" in refused(result)
    assert not list(tmp_path.glob("x.duckdb*"))


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """The same model with one row of the gate of MoE layer 1 NaN."""
    path = shutil.copytree(folder, tmp_path / "broken")
    [shard] = path.glob("*.safetensors")
    weights = load_file(shard)
    gates = sorted(name for name in weights if name.endswith("gate.weight_ED"))
    weights[gates[1]][5] = float("nan")
    save_file(weights, shard)
    return path


def test_a_gate_of_nan_is_refused_in_one_line_and_leaves_nothing(
    tmp_path: Path, broken: Path
) -> None:
    prompts = write(tmp_path / "p.txt", "hello\nyou\n")
    out = tmp_path / "t.duckdb"
    line = refused(run(prompts, "--out", out, "--model", broken))
    assert line.startswith("MoE layer 1 gives router logits that are NaN or infinite, first for")
    assert "token 'h' at position 0 of document 0" in line
    assert not list(tmp_path.glob("t.duckdb*"))
    again = refused(run(prompts, "--out", out, "--model", broken, "--generate", 3))
    assert again == line


def test_a_gate_of_nan_can_be_captured_with_a_finding_that_commands_print(
    tmp_path: Path, broken: Path
) -> None:
    prompts = write(tmp_path / "p.txt", "hello\nyou\n")
    parts = [tmp_path / f"{place}.duckdb" for place in (1, 2)]
    for place, path in enumerate(parts, start=1):
        part = ("--out", path, "--model", broken, "--part", f"{place}/2", "--allow-nonfinite")
        result = run(prompts, *part)
        assert result.exit_code == 0, result.output
        assert "fatal: non-finite: Router logits, mixing weights or losses" in result.stderr
    merged = tmp_path / "merged.duckdb"
    result = CliRunner().invoke(MERGE, [*map(str, parts), "--out", str(merged)])
    assert "(8 tokens; first, MoE layer 1 gives router logits" in result.stderr
    with open_trace(merged) as trace:
        kinds = trace.execute("SELECT kind, severity, occurrences FROM finding").fetchall()
        unknown = trace.execute("SELECT layer_id, count(margin) FROM gate GROUP BY ALL ORDER BY 1")
        assert unknown.fetchall() == [(0, 8), (1, 0)]
    assert kinds == [("non-finite", "fatal", 5), ("non-finite", "fatal", 3)]


@pytest.mark.parametrize("generate", [0, 2])
def test_a_tokenizer_that_panics_is_one_line(
    tmp_path: Path, folder: Path, generate: int, capfd: pytest.CaptureFixture
) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "model"))
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    slow: dict[str, object] = {"type": "Split", "pattern": {"Regex": "(a|a|aa)+$z"}}
    slow |= {"behavior": "Isolated", "invert": False}
    both = [slow, tokenizer["pre_tokenizer"]]
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": both}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    prompts = write(tmp_path / "p.txt", f"hello\n{'a' * 60}\n")
    out = tmp_path / "t.duckdb"
    result = run(prompts, "--out", out, "--model", model, "--generate", generate)
    assert "tokenizer.json cannot encode the text 'aaaa" in refused(result)
    assert capfd.readouterr().err == ""


def rank(monkeypatch: pytest.MonkeyPatch, number: str, of: str) -> None:
    monkeypatch.setenv("RANK", number)
    monkeypatch.setenv("WORLD_SIZE", of)


def test_the_part_of_a_rank_comes_from_the_environment(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = write(tmp_path / "p.txt", "one\ntwo\nthree\n")
    out = tmp_path / "t.duckdb"
    rank(monkeypatch, "1", "2")
    given = (prompts, "--model", folder, "--out", out, "--part", "rank")
    assert run(*given).exit_code == 0
    shard = tmp_path / "t.2-of-2.duckdb"
    assert not out.exists()
    with open_trace(shard) as trace:
        assert trace.execute("SELECT doc_id FROM document").fetchall() == [(1,)]
        config = json.loads(trace.execute("SELECT config FROM trace").fetchall()[0][0])
    assert config["capture"]["prompts"]["part"] == "2/2"
    assert f"{shard} exists" in refused(run(*given))
    assert "leave out --part" in refused(run(*given, "--ray"))
    assert "--parallel for one model" in refused(run(*given, "--parallel"))
    rank(monkeypatch, "0", "0")
    assert "which numbers them (RANK=0, WORLD_SIZE=0)" in refused(run(*given))
    monkeypatch.setenv("WORLD_SIZE", "y")
    assert "which torchrun starts" in refused(run(*given[:-2], "--parallel"))


@pytest.mark.parametrize(("number", "of"), [("", ""), ("2", "2"), ("x", "2"), ("0", "0")])
def test_a_rank_that_is_none_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, number: str, of: str
) -> None:
    rank(monkeypatch, number, of)
    prompts = write(tmp_path / "p.txt", "one\n")
    given = (prompts, "--model", folder, "--out", tmp_path / "t.duckdb", "--part", "rank")
    assert "--part" in refused(run(*given))
    assert [path.name for path in tmp_path.iterdir()] == ["p.txt"]


def test_a_merge_without_one_of_the_parts_is_refused(tmp_path: Path, folder: Path) -> None:
    prompts = write(tmp_path / "p.txt", "one\ntwo\nthree\n")
    paths = [tmp_path / f"{place}.duckdb" for place in (1, 2, 3)]
    for place, path in enumerate(paths, start=1):
        part = ("--model", folder, "--out", path, "--part", f"{place}/3")
        assert run(prompts, *part).exit_code == 0
    out = tmp_path / "all.duckdb"
    two = CliRunner().invoke(MERGE, [str(paths[0]), str(paths[2]), "--out", str(out)])
    assert "part 2/3 of p.txt is missing" in refused(two)
    unfinished = partial_path(paths[1])
    paths[1].rename(unfinished)
    shards = [*map(str, paths), "--out", str(out)]
    assert "is an unfinished capture" in refused(CliRunner().invoke(MERGE, shards))
    twice = CliRunner().invoke(MERGE, [str(paths[0]), *shards])
    assert refused(twice)
    assert not list(tmp_path.glob("all.duckdb*"))
    unfinished.rename(paths[1])
    assert CliRunner().invoke(MERGE, shards).exit_code == 0
