"""`routescope model`: what a configuration costs, and a training made into what is shipped."""

import json
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.commands.model_choice import Segments, Shared, chosen_config
from app.commands.numbers import Temperature, TopP, count_option, seed_option
from app.commands.signals import leaving, nothing
from app.studies.exchange import to_routescope, to_transformers
from app.studies.reader import CHECKPOINT, load_tracer
from data.lines import encodable
from data.outputs import new_folder, write_atomically
from data.strict_json import json_text
from data.training_folder import TrainingFolder

app = typer.Typer(no_args_is_help=True, help="Describe models, generate with them, ship them.")


@app.command(epilog="Example: routescope model describe 145b --against deepseek-67b")
def describe(
    preset: Annotated[str, typer.Argument(help="A preset or the folder of a model.")],
    segments: Segments = 1,
    shared: Shared = 0,
    against: Annotated[
        str | None, typer.Option(help="Another model; prints compute as a share of its compute.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print total and activated parameters and training FLOPs, counted as in the DeepSeekMoE
    paper; of a model of transformers what is known before it is loaded."""
    from model.counting import count
    from model.fingerprint import is_transformers

    if is_transformers(Path(preset)):
        if against or (segments, shared) != (1, 0):
            raise ValueError(
                f"{preset} is a model of transformers: --segments, --shared and --against are for "
                "RouteScope's own; leave them out"
            )
        print_facts(Path(preset), as_json=as_json)
        return
    counted = count(chosen_config(preset, segments=segments, shared=shared))
    flops = counted.training_flops_per_token
    share = flops / count(chosen_config(against)).training_flops_per_token if against else None
    if as_json:
        compared = {} if against is None else {"against": against, "share_of_compute": share}
        print(json_text({"preset": preset, **asdict(counted), **compared}))
        return
    rows = {
        "parameters": f"{counted.parameters / 1e9:.4g} B",
        "activated per token": f"{counted.active_parameters / 1e9:.4g} B",
        "in experts": f"{counted.expert_parameters / 1e9:.4g} B",
        "in activated experts": f"{counted.active_expert_parameters / 1e9:.4g} B",
        "training FLOPs per token": f"{flops / 1e9:.4g} G",
        f"per {counted.sequence_length} tokens": f"{flops * counted.sequence_length / 1e12:.4g} T",
    }
    if share is not None:
        rows[f"share of {against}"] = f"{share:.1%}"
    for name, value in rows.items():
        print(f"{name:<26}{value:>12}")


def print_facts(folder: Path, *, as_json: bool) -> None:
    from app.studies.model_facts import count, size, transformers_facts

    facts = transformers_facts(folder)
    if as_json:
        print(json_text(asdict(facts)))
        return
    unknown = "once loaded"
    rows = {
        "family": facts.family,
        "MoE layers": facts.layers,
        "experts": facts.num_experts or unknown,
        "chosen": facts.top_k or unknown,
        "shared": facts.num_shared_experts,
        "scoring": facts.scoring or unknown,
        "parameters": count(facts.parameters),
        "context, tokens": f"{facts.context:,}",
        f"memory, {facts.machine.dtype}": size(facts.needed_bytes),
    }
    for name, value in rows.items():
        print(f"{name:<26}{value:>20}")


@app.command(epilog="Example: routescope model presets")
def presets(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List every preset with its experts, parameters and training FLOPs."""
    from model.counting import count
    from model.presets import PRESETS

    if as_json:
        print(json_text({name: asdict(count(make())) for name, make in PRESETS.items()}))
        return
    print(f"{'preset':<26}{'experts':>14}{'parameters':>12}{'activated':>11}{'FLOPs/token':>13}")
    for name, make in PRESETS.items():
        config, counted = make(), count(make())
        experts = f"{config.num_shared_experts}+{config.top_k} of {config.num_experts}"
        print(
            f"{name:<26}{experts if config.num_experts else 'dense':>14}"
            f"{counted.parameters / 1e6:>10,.1f} M{counted.active_parameters / 1e6:>9,.1f} M"
            f"{counted.training_flops_per_token / 1e9:>11,.3f} G"
        )


@app.command(epilog='Example: routescope model generate "The sum of 12 and 30 is" --tokens 40')
def generate(
    prompt: Annotated[str, typer.Argument(help="The text to continue.")],
    folder: Annotated[Path, typer.Option("--model", help="Folder of a model.")] = CHECKPOINT,
    tokens: Annotated[int, count_option("Maximum number of new tokens.")] = 100,
    temperature: Temperature = 0.7,
    top_p: TopP = 0.95,
    seed: Annotated[int, seed_option("Seed of the sampling.")] = 0,
) -> None:
    """Print the prompt and its continuation."""
    from model.generate import generate as steps_of

    if not encodable(prompt):
        raise ValueError("the prompt is not UTF-8; type it again, or set a UTF-8 locale")
    model = load_tracer(folder).model
    [read] = model.read([prompt])
    steps = steps_of(
        model,
        [*model.unrecorded, *read.token_ids],
        max_new_tokens=tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    new_ids = takewhile(lambda x: x not in model.end_token_ids, (step.token_id for step in steps))
    print(model.decode([*read.token_ids, *new_ids]))


@app.command(epilog="Example: routescope model export data/checkpoint runs/hf --to transformers")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of the model, which stays as it is.")],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    to: Annotated[
        Literal["transformers", "routescope"],
        typer.Option(help="What is to load it; routescope reads back what it exported."),
    ],
) -> None:
    """Write a model so that transformers loads it without other code, or such a folder as a model
    of RouteScope's again; the same weights and tokens."""
    with leaving(nothing):
        lines = to_transformers(folder, out) if to == "transformers" else to_routescope(folder, out)
    print("\n".join(lines))
    print(f"Written to {out}")


@app.command(epilog="Example: routescope model ship runs/tiny runs/tiny-dense")
def ship(
    moe: Annotated[Path, typer.Argument(help="Folder of the finished training of the model.")],
    dense: Annotated[
        Path, typer.Argument(help="Folder of the finished training of its dense twin.")
    ],
    out: Annotated[Path, typer.Option(help="New folder, which ROUTESCOPE_MODEL can name.")] = Path(
        "shipped"
    ),
) -> None:
    """Copy weights, tokenizer, log, snapshots and both evaluations into one new folder."""
    trained, twin = TrainingFolder(moe), TrainingFolder(dense)
    wanted = [trained.evaluation, twin.evaluation, trained.snapshots]
    if missing := [str(path) for path in wanted if not path.is_file()]:
        raise ValueError(f"not a finished training: {', '.join(missing)} missing")
    with new_folder(out) as folder:
        copy_training(trained, twin, TrainingFolder(folder))


def copy_training(trained: TrainingFolder, twin: TrainingFolder, shipped: TrainingFolder) -> None:
    import shutil

    from model.fingerprint import shard_paths

    shipped.dense.path.mkdir()
    files = [trained.model_config, trained.settings, trained.log, trained.snapshots]
    tokenizer = [path for path in [trained.path / "tokenizer.json"] if path.is_file()]
    for path in [*shard_paths(trained.path), *files, *tokenizer]:
        shutil.copyfile(path, shipped.path / path.name)
    for path in (twin.settings, twin.log):
        shutil.copyfile(path, shipped.dense.path / path.name)
    evaluations = {
        "moe": json.loads(trained.evaluation.read_text(encoding="utf-8")),
        "dense": json.loads(twin.evaluation.read_text(encoding="utf-8")),
    }
    write_atomically(shipped.evaluation, json_text(evaluations, indent=2) + "\n")
