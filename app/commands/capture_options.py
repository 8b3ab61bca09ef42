"""The options of `routescope capture`, but for those of loading and sampling."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from app.commands.numbers import count_option, seed_option
from app.kept import Kept, Layers, Sample
from app.studies.reader import Loading, Sampling

Value = TypeVar("Value")


def _read(kind: Callable[[str], Value]) -> Callable[[str], Value]:
    """A parser of typer: what is wrong is said under the name of the option."""

    def parse(text: str) -> Value:
        try:
            return kind(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return parse


Prompts = Annotated[
    Path,
    typer.Argument(
        help="A UTF-8 file. txt: one prompt a line, or what blank lines or lines of --- "
        "separate. csv, jsonl, parquet: a column `text` or "
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
Seed = Annotated[int, seed_option("Seed of the continuation, and of --sample.")]
SampleOf = Annotated[
    Sample | None,
    typer.Option(
        parser=_read(Sample),
        metavar="SHARE|COUNT",
        help="Keep a sample of the prompts, whole and from each domain in proportion: 0.1, or 500.",
    ),
]
LayersOf = Annotated[
    Layers | None,
    typer.Option(
        parser=_read(Layers),
        metavar="LIST",
        help="Store these MoE layers alone, numbered from 0 as on the pages: 0,10,20-25.",
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        help="I/N: every N-th prompt, starting with the I-th; `routescope merge` joins the parts. "
        "`rank`, under torchrun: the part of this process, into a trace of its own."
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
Ray = Annotated[
    bool,
    typer.Option(
        "--ray",
        help="Read by workers on the Ray cluster of RAY_ADDRESS, or else of this machine, a model "
        "each.",
    ),
]
Workers = Annotated[
    int | None,
    count_option(
        "With --ray: how many. By default one a GPU, without any one a machine.", most=65_536
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
NumLayers = Annotated[
    int | None, count_option("With --server: layers of its routed experts.", most=4_096)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be captured, and how."""

    prompts: Path
    out: Path
    model: Path
    loading: Loading
    part: str | None
    kept: Kept
    sampling: Sampling | None
    allow_nonfinite: bool
    resume: bool
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The options of a capture from a server."""

    server: str | None
    api: str | None
    num_experts: int | None
    top_k: int | None
    num_layers: int | None

    def __bool__(self) -> bool:
        """ValueError: some of them are given without --server, or --server without --api."""
        others = {
            "--api": self.api,
            "--num-experts": self.num_experts,
            "--top-k": self.top_k,
            "--num-layers": self.num_layers,
        }
        given = [name for name, value in others.items() if value is not None]
        if self.server is None and given:
            raise ValueError(f"{given[0]} is for captures from a server; add --server URL")
        if self.server is not None and self.api is None:
            raise ValueError("--server needs --api: sglang, vllm or openai")
        return self.server is not None
