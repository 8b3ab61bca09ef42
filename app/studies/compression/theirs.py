"""A smaller model of transformers: its files with fewer experts, or with INT8 ones."""

from pathlib import Path

from app.studies.compression.rule import Rule
from app.studies.reader import Tracer, load_reader
from app.studies.redundancy import Redundancy


def require_prunable(folder: Path, rule: Rule) -> None:
    """Before anything is measured."""
    from model.huggingface import smaller

    smaller.require_prunable(folder)
    rule.require_without_leaders()


def write_pruned(tracer: Tracer, rule: Rule, known: Redundancy, folder: Path) -> Tracer:
    """With fewer experts in every layer, under new ids, and read back."""
    from model.huggingface.layers import HuggingFaceLayer
    from model.huggingface.smaller import block_number, prune_folder, require_prunable

    config = require_prunable(tracer.folder)
    groups = int(config.get("n_group") or 1)
    layers = tracer.model.moe_layers()
    names = [layer.name for layer in layers if isinstance(layer, HuggingFaceLayer)]
    kept_L = rule.kept(known, groups=groups)
    require_choice(len(kept_L[0]), known.top_k, config, groups=groups)
    kept = {block_number(name): ids for name, ids in zip(names, kept_L, strict=True)}
    prune_folder(tracer.folder, folder, kept, sha256=known.model_sha256)
    return load_reader(folder)


def require_choice(left: int, top_k: int, config: dict[str, object], *, groups: int) -> None:
    """Of `left` experts of a layer."""
    if groups == 1:
        return
    size, chosen = left // groups, config.get("topk_group")
    if size < 2 or (isinstance(chosen, int) and chosen * size < top_k):
        raise ValueError(
            f"{size} experts of each of {groups} groups would be left, which is too few for a "
            f"token that chooses {top_k} from {chosen} groups; lower --share"
        )


def write_int8(folder: Path, out: Path) -> Tracer:
    from model.huggingface.smaller import quantize_folder

    quantize_folder(folder, out)
    return load_reader(out)
