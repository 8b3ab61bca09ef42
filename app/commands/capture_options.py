"""The options of `routescope capture`, but for those of loading and sampling."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from app.commands.numbers import count_option, seed_option

Prompts = Annotated[
    Path,
    typer.Argument(
        help="A UTF-8 file. txt: one prompt per line. csv, jsonl, parquet: a column `text` or "
        "`prompt`, `domain` if there are labels, and `group` if several prompts are of one source, "
        "such as a work or an author."
    ),
]
Out = Annotated[Path, typer.Option(help="The trace to write, a .duckdb file.")]
Chat = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="Give a model of transformers each prompt as a user's message, in its chat template.",
    ),
]
Generate = Annotated[
    int, count_option("Number of tokens to continue every prompt by; 0 only reads it.", least=0)
]
Seed = Annotated[int, seed_option("Seed of the continuation.")]
Part = Annotated[
    str | None,
    typer.Option(
        help="I/N: every N-th prompt, starting with the I-th; `routescope merge` joins the parts."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an unfinished trace.")]
AllowNonfinite = Annotated[
    bool,
    typer.Option(
        "--allow-nonfinite",
        help="Store tokens whose logits, weights or losses are NaN or infinite; every page of the "
        "trace then says so.",
    ),
]
Parallel = Annotated[
    bool,
    typer.Option(
        "--parallel",
        help="Under torchrun: spread the experts over its processes, each reads its part of the "
        "prompts.",
    ),
]
ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="Send the prompts to a running inference server instead, such as "
        "http://127.0.0.1:30000. A key is read from OPENAI_API_KEY.",
    ),
]
Api = Annotated[
    str | None, typer.Option("--api", help="With --server, what it runs: sglang, vllm or openai.")
]
NumExperts = Annotated[
    int | None,
    count_option(
        "With --server: routed experts of a layer, where no config.json says.", most=4_096
    ),
]
TopK = Annotated[
    int | None,
    count_option("With --server: experts per token, where no config.json says.", most=256),
]
Layers = Annotated[
    int | None, count_option("With --server: layers of its routed experts.", most=4_096)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The options of a capture from a server."""

    server: str | None
    api: str | None
    num_experts: int | None
    top_k: int | None
    layers: int | None

    def __bool__(self) -> bool:
        """ValueError: some of them are given without --server, or --server without --api."""
        others = {
            "--api": self.api,
            "--num-experts": self.num_experts,
            "--top-k": self.top_k,
            "--layers": self.layers,
        }
        given = [name for name, value in others.items() if value is not None]
        if self.server is None and given:
            raise ValueError(f"{given[0]} is for captures from a server; add --server URL")
        if self.server is not None and self.api is None:
            raise ValueError("--server needs --api: sglang, vllm or openai")
        return self.server is not None
