import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.studies import server_client
from app.studies.in_flight import in_order
from app.studies.served_model import Given, served_model
from app.studies.server_capture import Captured, ServerCapture
from app.studies.server_client import Server
from app.studies.server_dialects import Asking
from data.groups import Grouping
from data.routing import Document
from data.store import TraceStore, open_trace
from data.trace_paths import partial_path
from tests.engine_server import EXPERTS, TOP_K, Engine, serving

TEXTS = ["one", "three", "five!", "fifteen"]  # a letter is a token
GROUPING = Grouping(source="near-duplicates", documents=4, groups=4, joined=0)
GIVEN = Given(num_experts=EXPERTS, top_k=TOP_K)


def documents(texts: list[str]) -> list[Document]:
    return [
        Document(doc_id=place, text=text, domain="math", origin=f"p.txt:{place + 1}")
        for place, text in enumerate(texts)
    ]


def capture(
    engine: Engine,
    out: Path,
    *,
    texts: list[str] = TEXTS,
    given: Given = GIVEN,
    resume: bool = False,
    chat: bool = False,
    api: str | None = None,
    at_once: int = 3,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Captured:
    api = api or ("sglang" if engine.api.startswith("sglang") else "vllm")
    asking = Asking(api=api, chat=chat, new_tokens=2, temperature=0.0, top_p=None, seed=7)
    with (
        serving(engine) as url,
        Server(url.replace("//", "//user:secret@"), first_pause=0) as server,
    ):
        model = served_model(server, api, given)
        taken = ServerCapture(server, model, asking, documents(texts), at_once=at_once)
        config_without_port = taken.description("t", prompts={"file": "p.txt"}, grouping=GROUPING)
        assert "secret" not in str(config_without_port)
        config_without_port.config["server"]["url"] = "made"  # type: ignore[index]
        begin = TraceStore.resume if resume else TraceStore.create
        with begin(out, config_without_port) as store:
            return taken.write(store, stored=store.stored_doc_ids(), on_progress=on_progress)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with open_trace(path) as connection:
        return connection.execute(query).fetchall()


def kinds(path: Path) -> dict[str, int]:
    return dict(rows(path, "SELECT kind, sum(occurrences)::INT FROM finding GROUP BY kind"))


@pytest.mark.parametrize("api", ["sglang", "sglang-u1", "vllm", "vllm-lists"])
@pytest.mark.parametrize("chat", [False, True])
def test_every_dialect_gives_the_routing_of_all_tokens(
    tmp_path: Path, api: str, chat: bool
) -> None:
    out = tmp_path / "t.duckdb"
    captured = capture(Engine(api), out, chat=chat)
    last = 1 if api == "vllm-lists" else 0  # of every answer, which a list has a row for
    letters = sum(map(len, TEXTS))
    assert captured == Captured(documents=4, tokens=letters + 4 * (1 + last))
    wrong = """SELECT count(*) FROM routing
        WHERE expert_id <> (position + layer_id + rank) % 8"""
    assert rows(out, wrong) == [(0,)]
    phases = rows(out, "SELECT phase, count(*) FROM token GROUP BY phase ORDER BY phase")
    assert [count for _, count in phases] in ([letters, 4 + 4 * last], [4 + 4 * last, letters])
    assert rows(out, "SELECT DISTINCT domain, source FROM document, trace") == [
        ("math", "sglang" if "sglang" in api else "vllm")
    ]
    assert set(kinds(out)) == ({"no-pass-for-last-token"} if not last else set())


@pytest.mark.parametrize("api", ["sglang", "vllm"])
def test_log_probabilities_of_prompt_and_answer_become_losses(tmp_path: Path, api: str) -> None:
    out = tmp_path / "t.duckdb"
    capture(Engine(api), out, texts=["ab"])
    query = "SELECT text, loss FROM token ORDER BY position"
    assert rows(out, query)[1:] == [("b", 1.0), ("<1000>", 0.5)]
    assert rows(out, "SELECT text FROM document") == [("ab<1000><1001>",)]


def test_a_server_that_is_asked_as_any_other_is_read_by_its_counts(tmp_path: Path) -> None:
    out = tmp_path / "t.duckdb"
    engine = Engine("vllm")
    assert capture(engine, out, api="openai", texts=["abc"]).tokens == 4  # 3 + 2 - 1
    assert set(engine.requests[0]) == {
        *("model", "prompt", "max_tokens", "seed", "temperature", "logprobs")
    }
    assert rows(out, "SELECT source, text FROM trace, document") == [("openai", "abc<1000><1001>")]


def test_a_request_carries_what_was_asked_for(tmp_path: Path) -> None:
    engine = Engine("sglang")
    capture(engine, tmp_path / "t.duckdb", texts=["ab"])
    assert engine.requests == [
        {
            "model": "made/moe",
            "prompt": "ab",
            "max_tokens": 2,
            "seed": 7,
            "temperature": 0.0,
            "logprobs": 1,
            "return_routed_experts": True,
            "return_token_ids": True,
            "echo": True,
        }
    ]


def test_the_key_of_the_environment_is_sent_and_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-made")
    engine = Engine("vllm")
    with serving(engine) as url, Server(url) as server:
        served_model(server, "vllm", GIVEN)
    assert engine.headers[0]["Authorization"] == "Bearer sk-made"
    out = tmp_path / "t.duckdb"
    capture(engine, out)
    assert "sk-made" not in str(rows(out, "SELECT * FROM trace"))
    assert b"sk-made" not in out.read_bytes()


def test_dense_layers_are_left_out_and_named(tmp_path: Path) -> None:
    out = tmp_path / "t.duckdb"
    capture(Engine("sglang", dense=1), out)
    assert rows(out, "SELECT name FROM layer ORDER BY layer_id") == [("layers.1",), ("layers.2",)]
    assert kinds(out)["zero-layers"] == 1


def test_layers_that_the_config_calls_dense_are_no_warning(tmp_path: Path) -> None:
    config = {
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 3,
        "first_k_dense_replace": 1,
        "scoring_func": "sigmoid",
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "n_shared_experts": 1,
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    out = tmp_path / "t.duckdb"
    capture(Engine("sglang", dense=1), out, given=Given(folder=tmp_path))
    assert kinds(out)["dense-layers"] == 1
    layer = "SELECT DISTINCT scoring, weighting, num_shared_experts FROM layer"
    assert rows(out, layer) == [("sigmoid", "scores that sum to 1, times 2.5", 1)]


def test_rows_of_a_cached_beginning_are_left_out_and_named(tmp_path: Path) -> None:
    out = tmp_path / "t.duckdb"
    captured = capture(Engine("sglang", cached=2), out)
    assert kinds(out)["missing-rows"] == 8  # 2 of each text
    assert captured.tokens == sum(map(len, TEXTS)) + 4 - 8


def test_a_row_too_many_is_named(tmp_path: Path) -> None:
    out = tmp_path / "t.duckdb"
    capture(Engine("vllm", rows_too_many=1), out)
    assert kinds(out) == {"rows-against-tokens": 4}


def test_failures_are_tried_again(tmp_path: Path) -> None:
    busy = [(500, {}), (503, {}), (429, {"Retry-After": "0"})]
    engine = Engine("vllm", fails={"three": busy})
    assert capture(engine, tmp_path / "t.duckdb").documents == 4
    assert engine.asked["three"] == 4


def test_what_is_on_its_way_is_bounded(tmp_path: Path) -> None:
    engine = Engine("vllm")
    capture(engine, tmp_path / "t.duckdb", texts=[f"text {n}" for n in range(40)], at_once=3)
    assert engine.most_at_once <= 3


def test_answers_come_in_the_order_of_the_prompts() -> None:
    squares = in_order(range(50), lambda n: n * n, at_once=7, hang_up=lambda: None)
    assert list(squares) == [(n, n * n) for n in range(50)]


def test_hanging_up_ends_what_waits_for_an_answer() -> None:
    engine = Engine("vllm", held=Event())
    assert engine.held is not None
    with serving(engine) as url, Server(url, first_pause=0) as server:
        waiting = in_order(
            [{"prompt": "a"}, {"prompt": "b"}],
            lambda body: server.post("/v1/completions", body),
            at_once=2,
            hang_up=server.hang_up,
        )

        def hang_up_once_begun() -> None:
            engine.begun.wait()
            server.hang_up()

        engine_begun = Thread(target=hang_up_once_begun)
        engine_begun.start()
        with pytest.raises(ValueError, match="no answer"):
            next(waiting)
        engine_begun.join()
        engine.held.set()


def refusal(engine: Engine, out: Path, **more: Any) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        capture(engine, out, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Engine("sglang", without_routing=True), "--enable-return-routed-experts"),
        (Engine("vllm", without_routing=True), "--enable-return-routed-experts"),
        (Engine("vllm", bodies={"one": b'{"choices": [{"te'}), "no JSON"),
        (Engine("vllm", bodies={"one": b"[1]"}), "not an object"),
        (Engine("vllm", bodies={"one": b'{"choices": []}'}), "gave 0 answers"),
        (Engine("vllm", fails={"one": [(500, {})] * 9}), "answers 500 (not now), 6 times in all"),
        (Engine("vllm", fails={"one": [(400, {})]}), "answers 400: not now"),
        (Engine("vllm", fails={"one": [(401, {})]}), "set OPENAI_API_KEY"),
        (Engine("vllm", fails={"one": [(307, {"Location": "http://x/"})]}), "a redirect to http"),
        (Engine("vllm", fails={"one": [(404, {})]}), "no such path"),
        (Engine("vllm", content_type="text/html"), "a page for people"),
        (Engine("vllm", lists_model=False), "names no model"),
    ],
)
def test_what_a_server_does_wrong_is_said_in_a_line_and_leaves_nothing(
    tmp_path: Path, engine: Engine, said: str
) -> None:
    assert said in refusal(engine, tmp_path / "t.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_client, "LONGEST_ANSWER", 100_000)
    engine = Engine("vllm", bodies={"one": b" " * 200_000})
    assert "more than 100,000 bytes" in refusal(engine, tmp_path / "t.duckdb")


def test_experts_are_asked_for_where_nobody_says(tmp_path: Path) -> None:
    out = tmp_path / "t.duckdb"
    assert "--num-experts" in refusal(Engine("vllm"), out, given=Given())
    assert "--top-k" in refusal(Engine("sglang"), out, given=Given(num_experts=8))
    assert "--num-layers" in refusal(Engine("vllm"), out, given=Given(num_experts=8, layers=4))
    assert "--top-k" in refusal(Engine("vllm"), out, given=Given(num_experts=8, top_k=3))


def test_no_server_is_said_in_a_line() -> None:
    with serving(Engine("vllm")) as url:
        pass
    with Server(url, first_pause=0) as server, pytest.raises(ValueError, match="no answer"):
        server.get("/v1/models")


@pytest.mark.parametrize("address", ["", "127.0.0.1:3000", "ftp://x", "http://", "http://x?q=1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="--server is no address"):
        Server(address)


def test_a_server_that_is_gone_midway_leaves_what_a_second_one_completes(tmp_path: Path) -> None:
    texts = [f"text number {n}" for n in range(120)]  # 14 to 16 tokens each
    out, whole = tmp_path / "t.duckdb", tmp_path / "w.duckdb"
    assert "no answer" in refusal(Engine("vllm", gone_after=100), out, texts=texts)
    assert partial_path(out).exists()
    again = Engine("vllm")
    captured = capture(again, out, texts=texts, resume=True)
    assert captured.documents < 120 - 50
    assert captured.documents <= again.asked.total() <= captured.documents + 16
    capture(Engine("vllm"), whole, texts=texts)
    query = "SELECT * EXCLUDE weight FROM routing ORDER BY ALL"
    assert rows(out, query) == rows(whole, query)
    assert kinds(out) == kinds(whole) == {"no-pass-for-last-token": 120}


def test_an_interrupted_capture_keeps_what_was_noticed(tmp_path: Path) -> None:
    out = tmp_path / "t.duckdb"

    def stop(tokens: int, done: int) -> None:
        if done == 50:
            raise KeyboardInterrupt

    texts = [f"text number {n}" for n in range(120)]
    with pytest.raises(KeyboardInterrupt):
        capture(Engine("vllm", cached=1), out, texts=texts, on_progress=stop)
    assert capture(Engine("vllm", cached=1), out, texts=texts, resume=True).documents == 70
    noticed = kinds(out)
    assert noticed["no-pass-for-last-token"] == 120
    assert 120 <= noticed["missing-rows"] <= 121  # the text that was looked at, but not stored


def test_a_complete_capture_that_is_resumed_asks_for_no_more(tmp_path: Path) -> None:
    out = tmp_path / "t.duckdb"

    def stop(tokens: int, done: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(Engine("vllm"), out, on_progress=stop)
    assert capture(Engine("vllm"), out, resume=True).documents == 0
    assert rows(out, "SELECT count(*) FROM document") == [(4,)]


def test_the_command_writes_a_trace_and_says_what_it_noticed(tmp_path: Path) -> None:
    prompts, out = tmp_path / "p.txt", tmp_path / "t.duckdb"
    prompts.write_text("one\nthree\n", encoding="utf-8")
    with serving(Engine("sglang")) as url:
        arguments = ["capture", str(prompts), "--out", str(out), "--server", f"{url}/v1"]
        arguments += ["--api", "sglang", "--num-experts", "8", "--top-k", "2", "--generate", "2"]
        result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["documents"], figures["tokens"]) == (2, 10)  # 3 + 1 and 5 + 1 of each


def test_the_command_refuses_what_does_not_go_together(tmp_path: Path) -> None:
    prompts = tmp_path / "p.txt"
    prompts.write_text("one\n", encoding="utf-8")
    base = ["capture", str(prompts), "--out", str(tmp_path / "t.duckdb")]
    for more, said in (
        (["--api", "vllm"], "add --server"),
        (["--server", "http://127.0.0.1:9"], "--server needs --api"),
        (["--server", "http://127.0.0.1:9", "--api", "x", "--generate", "1"], "--api is 'x'"),
        (["--server", "http://127.0.0.1:9", "--api", "vllm"], "add --generate 1"),
        (["--server", "http://127.0.0.1:9", "--api", "vllm", "--device", "cpu"], "--device"),
    ):
        result = CliRunner().invoke(app, [*base, *more])
        assert isinstance(result.exception, ValueError), result.output
        assert said in str(result.exception)
