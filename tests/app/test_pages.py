"""Every page, run without a browser: without a trace, on tiny and on hostile ones, on the demo."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button
from streamlit.util import calc_hash

from app import workspace
from app.commands.demo import demo
from app.jobs import beside
from app.jobs.queue import all_jobs
from app.studies.reader import CHECKPOINT
from app.views.shared.controls import unmarked
from data.routing import DOMAINS
from data.store import open_trace
from data.tokenizer import train_tokenizer
from model.checkpoint import save_model
from model.transformer import Transformer
from tests.models import small_config
from tests.trainings import log_line, write_config, write_log, write_snapshots

ROOT = Path(__file__).parents[2]
PAGES = {
    "overview": "Which domain does each expert work for?",
    "specialization": "Which experts prefer which domain?",
    "load_balance": "Do all experts carry their share?",
    "coactivation": "Which experts work together?",
    "vocabulary": "Do experts follow the word or the subject?",
    "domain_clusters": "Do texts of one domain travel together?",
    "causes": "Does removing a specialist hurt its own domain?",
    "prompts": "Which experts does my text use?",
    "training": "When did the experts settle, and was it worth it?",
    "redundancy": "Could fewer experts do the same work?",
    "comparison": "Does DeepSeekMoE beat what came before it?",
    "export": "What can I take away?",
}
OF_A_TRACE = [name for name in PAGES if name != "comparison"]  # that one reads what is shipped
HOSTILE = '=HYPERLINK("http://evil.test") <img src=x onerror=alert(1)> ![a](http://evil.test/b.png)'


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace without a model or trainings, in which nothing is projected by itself."""
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(tmp_path / "traces"))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(tmp_path / "model"))
    monkeypatch.setenv("ROUTESCOPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(workspace, "SHIPPED_TRAININGS", tmp_path / "stages")
    monkeypatch.setattr(beside, "project", lambda trace: None)
    monkeypatch.setattr(beside, "information", lambda trace: None)
    (tmp_path / "traces").mkdir()
    return tmp_path / "traces"


@pytest.fixture
def model(tmp_path: Path, traces: Path) -> Path:
    """A model that reads bytes, and the log of a training that it never had."""
    folder = tmp_path / "model"
    torch.manual_seed(0)
    save_model(Transformer(replace(small_config(), vocab_size=300, context_length=64)), folder)
    tokenizer = train_tokenizer(
        ["the cat sat on the mat, the dog on the log. " * 9], vocab_size=270
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_log(folder, [log_line(1), log_line(2)])
    write_config(folder, steps=2)
    bits = {"math": 2.0, "all": 2.0}
    (folder / "evaluation.json").write_text(
        json.dumps({"moe": bits, "dense": {**bits, "all": 2.5}})
    )
    chosen_SLE = np.array([[[True, True, False, False]] * 2])
    write_snapshots(
        folder / "snapshots.safetensors",
        {1: chosen_SLE, 2: chosen_SLE},
        {1: chosen_SLE, 2: chosen_SLE},
        domain_id_N=[0],
    )
    return folder


def run_to_its_end(app: AppTest) -> AppTest:
    assert all_jobs().get(app.session_state.run).ended.wait(60)
    return app.run()


def page(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app" / "streamlit_app.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app._page_hash = calc_hash("" if name == "overview" else name)  # switch_page would run two
    return app.run()


def texts(app: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in app.get("html"))


@pytest.mark.parametrize("name", OF_A_TRACE)
def test_a_page_of_an_empty_workspace_says_what_to_do(name: str, traces: Path) -> None:
    app = page(name)
    assert not app.exception
    assert PAGES[name] in texts(app)
    assert any("routescope" in element.value for element in [*app.info, *app.code])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_a_tiny_trace(name: str, traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page(name)
    assert not app.exception
    assert PAGES[name] in texts(app)


@pytest.mark.parametrize("name", OF_A_TRACE)
def test_a_page_of_a_trace_without_tokens_says_so(
    name: str, traces: Path, empty_trace: Path
) -> None:
    shutil.copy(empty_trace, traces / "empty.duckdb")
    app = page(name)
    assert not app.exception
    assert app.info


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_a_trace_without_labels(name: str, traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "plain.duckdb")
    with duckdb.connect(str(traces / "plain.duckdb")) as con:
        con.execute("UPDATE document SET domain = NULL")
    assert not page(name).exception


@pytest.mark.parametrize("name", PAGES)
def test_a_hostile_text_and_domain_are_escaped(name: str, traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "hostile.duckdb")
    with duckdb.connect(str(traces / "hostile.duckdb")) as con:
        con.execute("UPDATE document SET text = $1, domain = $1 WHERE doc_id < 1", [HOSTILE])
        con.execute("UPDATE token SET text = $1 WHERE doc_id < 1", [HOSTILE])
    app = page(name)
    assert not app.exception
    assert "<img" not in texts(app)
    marked = [*app.markdown, *app.caption, *app.info, *app.warning, *app.header, *app.subheader]
    assert not [element for element in marked if "evil.test" in element.value]
    assert not [metric for metric in app.metric if "![a](" in f"{metric.value} {metric.delta}"]


def test_text_in_markdown_is_unmarked() -> None:
    assert unmarked("![a](b) :red[x] $y$ math") == r"\!\[a\]\(b\) \:red\[x\] \$y\$ math"


def test_a_broken_trace_is_an_error_and_not_a_traceback(traces: Path) -> None:
    (traces / "broken.duckdb").write_bytes(b"not a database")
    app = page("overview")
    assert not app.exception
    assert app.error[0].value.startswith("This trace cannot be shown")


def test_a_link_opens_a_layer_and_an_expert(traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("specialization", layer="1", expert="3")
    assert app.selectbox(key="expert").value == 3
    assert app.subheader[0].value == "Expert 3 of layer 1"


def test_a_link_to_an_expert_that_is_not_there_is_ignored(traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("specialization", layer="99", expert="-1", trace="../../etc/passwd")
    assert not app.exception
    assert app.selectbox(key="expert").value == 0


def test_the_sidebar_chooses_among_traces(traces: Path, tiny_trace: Path) -> None:
    for name in ("one", "two"):
        shutil.copy(tiny_trace, traces / f"{name}.duckdb")
    app = page("overview")
    app.selectbox(key="trace").set_value("one").run()
    assert not app.exception
    assert app.selectbox(key="trace").value == "one"


def test_load_of_one_domain(traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("load_balance")
    assert app.metric[0].value == "2.00×"  # 8 / 4 in layer 0
    app.selectbox(key="domain").set_value("code").run()
    assert not app.exception
    assert "6 choices a layer" in texts(app)  # 3 tokens, 2 experts each


def test_a_pasted_text_is_run_and_saved(traces: Path, model: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("prompts")
    app.text_area(key="pasted").set_value("the cat sat on the mat")
    app = run_to_its_end(run_button(app).click().run())
    assert not app.exception
    assert "In layer 0" in texts(app)
    app.text_input(key="trace_name").set_value("cats").run()
    app.button(key="save_trace").click().run()
    assert (traces / "cats.duckdb").is_file()


def test_uploaded_prompts_are_continued(traces: Path, model: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("prompts")
    app.file_uploader(key="upload").set_value(
        [("../p.csv", b"text,domain\nthe cat,math\n", "text/csv")]
    )
    app.number_input(key="new_tokens").set_value(8)
    app = run_to_its_end(run_button(app).click().run())
    assert not app.exception
    assert "In layer 0" in texts(app)


@pytest.mark.parametrize(("name", "content"), [("a.csv", b"a,b\n1,2\n"), ("a.txt", b"\xff")])
def test_a_file_that_cannot_be_read_is_a_message(
    name: str, content: bytes, traces: Path, model: Path, tiny_trace: Path
) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("prompts")
    app.file_uploader(key="upload").set_value([(name, content, "text/plain")])
    run_button(app).click().run()
    assert not app.exception
    assert app.error[0].value == "This cannot be run:"


def test_a_token_of_a_longer_text_is_forgotten(traces: Path, model: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("prompts", token="2")
    assert app.number_input(key="token").value == 2
    app.text_area(key="pasted").set_value("t")
    app = run_to_its_end(run_button(app).click().run())
    assert not app.exception
    assert app.number_input(key="token").value == 0


@pytest.mark.parametrize("token", ["9999", "-1", "x"])
def test_a_link_to_a_token_that_is_not_there_is_ignored(
    token: str, traces: Path, tiny_trace: Path
) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("prompts", token=token, text="77")
    assert not app.exception
    assert app.number_input(key="token").value == 0


def test_the_training_page_compares_with_the_dense_twin(
    traces: Path, model: Path, tiny_trace: Path
) -> None:
    app = page("training")
    assert not app.exception
    assert "20.0% better" in texts(app)  # 2.0 against 2.5 bits per byte


def run_button(app: AppTest) -> Button:
    return next(button for button in app.button if button.label == "Run")


@pytest.fixture(scope="session")
def demo_traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the demo trace, made of the shipped model and texts."""
    folder = tmp_path_factory.mktemp("demo")
    demo(out=folder / "demo.duckdb")
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_demo(
    name: str, traces: Path, demo_traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(CHECKPOINT))
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(demo_traces))
    app = page(name)
    assert not app.exception
    assert PAGES[name] in texts(app)


def test_the_demo_is_large_and_balanced(demo_traces: Path) -> None:
    with open_trace(demo_traces / "demo.duckdb") as con:
        tokens = dict(
            con.execute(
                "SELECT domain, count(*) FROM token JOIN document USING (doc_id) GROUP BY domain"
            ).fetchall()
        )
        dead = con.execute(
            "SELECT count(*) FROM expert ANTI JOIN document_load USING (layer_id, expert_id)"
        ).fetchone()
    assert set(tokens) == set(DOMAINS)
    assert sum(tokens.values()) >= 100_000
    assert max(tokens.values()) < 1.1 * min(tokens.values())
    assert dead == (0,)


@pytest.mark.parametrize(
    ("name", "told"),
    {
        "load_balance": "| balancedness | loads (4, 0) and (6, 6) |",
        "coactivation": "| co-activation (OLMoE) | two tokens choose 0, 1, 2 and 0, 2, 1 by rank |",
        "vocabulary": "| vocabulary specialization (OLMoE) | id a",
    }.items(),
)
def test_the_method_shows_the_definitions_of_paper_and_released_code_beside_ours(
    name: str, told: str, traces: Path, tiny_trace: Path
) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    (table,) = [element.value for element in page(name).markdown if "side by side" in element.value]
    assert "| metric | case | paper | released code | RouteScope |" in table
    assert told in table
