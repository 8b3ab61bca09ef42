"""`routescope train` and `routescope model`, from the command line's side."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.studies.reader import CHECKPOINT
from data.routing import DOMAINS
from data.store import open_trace
from data.tokens import TokenizedDocument, TokenStore, batches, write_tokens
from model.presets import PRESETS
from tests.models import small_dsr
from tests.tokenizers import cat_tokenizer

runner = CliRunner()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """One document of 600 tokens in each domain, both splits."""
    for split in ("train", "heldout"):
        documents = [
            TokenizedDocument(np.arange(g, g + 600, dtype=np.uint16), domain, 1200)
            for g, domain in enumerate(DOMAINS)
        ]
        write_tokens(tmp_path, split, documents, DOMAINS)
    return tmp_path


@pytest.mark.slow
def test_a_training_ends_with_weights_and_bits_per_byte(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["train", str(folder), "--corpus", str(corpus), "--steps", "2", "--batch-size", "1"]
    result = runner.invoke(app, [*command, "--warmup-steps", "1", "--json"])
    summary = json.loads(result.stdout)
    assert summary["finished"]
    assert set(summary["bits_per_byte"]) == {*DOMAINS, "all"}
    # untrained: about ln(16384) nats a token, 601 targets in 1200 bytes
    assert summary["bits_per_byte"]["all"] == pytest.approx(7, rel=0.2)
    assert (folder / "snapshots.safetensors").exists()

    shipped = runner.invoke(
        app, ["model", "ship", str(folder), str(folder), "--out", str(tmp_path / "shipped")]
    )
    assert shipped.exit_code == 0
    described = runner.invoke(app, ["model", "describe", str(tmp_path / "shipped"), "--json"])
    assert json.loads(described.stdout)["parameters"] == 23_736_576


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_trained_model_can_be_captured_with_its_own_tokenizer(
    corpus: Path, tmp_path: Path
) -> None:
    shutil.copyfile(CHECKPOINT / "tokenizer.json", corpus / "tokenizer.json")
    run, trace = tmp_path / "run", tmp_path / "own.duckdb"
    train = ["train", str(run), "--corpus", str(corpus), "--preset", "mini-switch-capacity"]
    steps = ["--steps", "1", "--batch-size", "1", "--warmup-steps", "1"]
    assert runner.invoke(app, [*train, *steps]).exit_code == 0
    (tmp_path / "prompts.txt").write_text("the same the same the same the same")
    capture = ["capture", str(tmp_path / "prompts.txt"), "--model", str(run), "--out", str(trace)]
    assert runner.invoke(app, capture).exit_code == 0
    with open_trace(trace) as con:
        [(name, executed, dropped)] = con.execute(
            "SELECT model_name, (SELECT count(*) FROM routing), (SELECT count(*) FROM dropped) "
            "FROM trace"
        ).fetchall()
    assert name == "Switch 53.0 M"
    assert executed + dropped == 6 * 8  # layers and tokens, one choice each


def staged(corpus: Path, folder: Path, *options: str) -> Result:
    """A small DSR trained in stages: two sequences a full batch."""
    preset = folder.parent / "preset"
    preset.mkdir(exist_ok=True)
    config = small_dsr(vocab_size=1_024, context_length=512, top_k=8, min_k=1)
    (preset / "config.json").write_text(json.dumps(asdict(config)))
    command = ["train", str(folder), "--corpus", str(corpus), "--preset", str(preset)]
    return runner.invoke(app, [*command, "--batch-size", "4", "--warmup-steps", "1", *options])


STAGES = [
    {"name": "few", "percent": 50, "min_k": 1, "max_k": 2, "curriculum": True},
    {"name": "many", "percent": 50, "batch": 0.5, "min_k": 3, "max_k": 6, "adversarial": True},
]


def table(path: Path, stages: list[dict[str, object]]) -> str:
    path.write_text(json.dumps(stages))
    return str(path)


@pytest.mark.slow
def test_the_advice_of_a_diverged_training_works(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = staged(corpus, run, "--steps", "2", "--learning-rate", "1000")
    assert result.exit_code == 1
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert f"{run} keeps what was saved before" in line
    rate = line.rsplit("--learning-rate ", 1)[1]
    assert rate == "250"
    for number in range(12):  # the same advice until it has come down
        result = staged(corpus, tmp_path / f"run{number}", "--steps", "2", "--learning-rate", rate)
        if result.exit_code == 0:
            break
        rate = result.stderr.rsplit("--learning-rate ", 1)[1].strip()
    assert result.exit_code == 0


@pytest.mark.slow
def test_stages_train_to_the_end_and_can_be_captured(corpus: Path, tmp_path: Path) -> None:
    cat_tokenizer().save(str(corpus / "tokenizer.json"))
    run, trace = tmp_path / "run", tmp_path / "staged.duckdb"
    stages = table(tmp_path / "stages.json", STAGES)
    result = staged(corpus, run, "--stages", stages, "--steps", "6")
    assert result.exit_code == 0, result.output
    assert {"step": 9, "stage": "many"}.items() <= last_line(run).items()  # 3, then 6 of half
    (tmp_path / "prompts.txt").write_text("the same the same the same the same")
    capture = ["capture", str(tmp_path / "prompts.txt"), "--model", str(run), "--out", str(trace)]
    assert runner.invoke(app, capture).exit_code == 0
    with open_trace(trace) as con:
        assert con.execute("SELECT top_k, num_experts FROM trace").fetchall() == [(None, 8)]
        ks = con.execute("SELECT DISTINCT k FROM document_k").fetchall()
    assert {k for (k,) in ks} <= {3, 4, 5, 6}


def last_line(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "train_log.jsonl").read_text().splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("stages", "options", "said"),
    [
        ([STAGES[0]], [], "the stages take 50 = 50 % of the tokens; make it 100 %"),
        ([STAGES[0], STAGES[1] | {"max_k": 9}], [], "up to 9 experts, the model has 8"),
        ([STAGES[0], STAGES[1] | {"top_p": 1.5}], [], "top_p of stage 'many' is 1.5"),
        (STAGES, ["--steps", "1"], "'few' would take 0 steps"),
        (STAGES, ["--snapshots", "0"], "Invalid value for '--snapshots'"),
    ],
)
def test_stages_that_cannot_be_end_with_one_line_and_no_folder(
    corpus: Path,
    tmp_path: Path,
    stages: list[dict[str, object]],
    options: list[str],
    said: str,
) -> None:
    run = tmp_path / "run"
    result = staged(corpus, run, "--stages", table(tmp_path / "s.json", stages), *options)
    assert result.exit_code != 0
    assert said in str(result.exception)
    assert not run.exists()


def test_parts_of_stages_are_left_out_of_stages_only(corpus: Path, tmp_path: Path) -> None:
    result = staged(corpus, tmp_path / "run", "--no-curriculum")
    assert "add --stages" in str(result.exception)


def test_a_batch_depends_on_the_step_alone(corpus: Path) -> None:
    store = TokenStore.load(corpus, "train")
    first, second = (batches(store, 512, 4, seed=0) for _ in range(2))
    assert (first(7) == second(7)).all()
    assert first(0).shape == (4, 513)
    with pytest.raises(ValueError, match="fewer than one batch of 100"):
        batches(store, 512, 100, seed=0)


def test_the_sample_takes_as_many_sequences_of_every_domain(corpus: Path) -> None:
    ids_NS, domain_id_N = TokenStore.load(corpus, "heldout").opening_windows(512)
    assert ids_NS.shape == (6, 512)  # one long enough document in each
    assert ids_NS[:, 0].tolist() == [0] * 6  # each begins with <|endoftext|>
    assert domain_id_N.tolist() == list(range(6))


def test_describe_prints_the_sizes_of_16b() -> None:
    result = runner.invoke(app, ["model", "describe", "16b", "--json"])
    assert json.loads(result.stdout)["parameters"] == 16_375_728_128


def test_an_unknown_preset_is_named() -> None:
    result = runner.invoke(app, ["model", "describe", "17b"])
    assert isinstance(result.exception, ValueError)
    assert "'17b' is neither a folder nor a preset" in str(result.exception)


def test_describe_says_the_share_of_another_models_compute() -> None:
    command = ["model", "describe", "145b", "--against", "deepseek-67b", "--json"]
    described = json.loads(runner.invoke(app, command).stdout)
    assert described["share_of_compute"] == pytest.approx(0.285, rel=0.03)


def test_cutting_and_sharing_keep_the_parameters_of_the_experts() -> None:
    cut = ["model", "describe", "mini-gshard", "--segments", "4", "--shared", "1", "--json"]
    found, whole = (
        json.loads(runner.invoke(app, command).stdout)
        for command in (cut, ["model", "describe", "mini-deepseekmoe", "--json"])
    )
    assert found | {"preset": ""} == whole | {"preset": ""}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["mini-gshard", "--segments", "3"], "3 segments do not divide an expert of width 640"),
        (["mini-gshard", "--shared", "2"], "leave none to choose"),
        (["mini-dense", "--segments", "2"], "mini-dense is dense"),
    ],
)
def test_an_impossible_cut_is_refused(options: list[str], message: str) -> None:
    result = runner.invoke(app, ["model", "describe", *options])
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_k": 65}, "top_k (65) must be between 1 and num_experts (64)"),
        ({"capacity_factor": 0.0}, "capacity_factor (0.0) must be positive"),
        ({"router": "dice"}, "router ('dice') must be one of softmax"),
        ({"heads": 3}, "unknown fields ['heads']"),
    ],
)
def test_a_config_file_that_cannot_be_is_refused(
    change: dict[str, object], message: str, tmp_path: Path, corpus: Path
) -> None:
    config = asdict(PRESETS["tiny"]()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = tmp_path / "run"
    command = ["train", str(run), "--corpus", str(corpus), "--preset", str(tmp_path)]
    assert message in str(runner.invoke(app, command).exception)
    assert not run.exists()


@pytest.mark.slow
def test_every_preset_is_listed() -> None:
    listed = runner.invoke(app, ["model", "presets"]).stdout
    assert all(f"{name} " in listed for name in PRESETS)


def test_what_is_there_is_not_replaced_by_what_is_shipped(corpus: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "shipped"
    assert staged(corpus, run, "--steps", "2").exit_code == 0
    out.mkdir()
    (out / "mine").write_text("kept")
    result = runner.invoke(app, ["model", "ship", str(run), str(run), "--out", str(out)])
    assert "is not an empty folder; delete it or choose another name" in str(result.exception)
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_an_unknown_preset_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom app.commands.train import train\n"
        f"try: train({str(tmp_path / 'run')!r}, 'corpus', preset='nope')\n"
        "except ValueError as error: print(error, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("'nope' is neither a folder nor a preset")
    assert ran.stdout.endswith("False\n")


def test_an_unfinished_training_is_not_shipped(tmp_path: Path) -> None:
    result = runner.invoke(app, ["model", "ship", str(tmp_path), str(tmp_path)])
    assert "not a finished training" in str(result.exception)


def test_a_corpus_of_more_ids_than_the_model_has_is_refused(corpus: Path, tmp_path: Path) -> None:
    documents = [TokenizedDocument(np.array([16_384], np.uint16), "math", 9)]
    write_tokens(corpus, "heldout", documents, DOMAINS)
    result = runner.invoke(app, ["train", str(tmp_path / "run"), "--corpus", str(corpus)])
    assert "has the token id 16384, the model ids below 16384" in str(result.exception)
