"""Shared code knows models by model/readable.py alone, read from the syntax of every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUR_OWN = (  # what makes, trains, stores or rewrites the weights of our models
    "model/transformer.py",
    "model/deepseek_moe.py",
    "model/router.py",
    "model/config.py",
    "model/counting.py",
    "model/checkpoint.py",
    "model/compress.py",
    "model/training/",
    "model/parallel/",
    "app/commands/train.py",
    "app/commands/model_class.py",
    "app/studies/compression/",
)


def trees(*, shared_only: bool = True) -> Iterator[tuple[str, ast.AST]]:
    for path in sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "model").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if not (shared_only and name.startswith(OUR_OWN)):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def names(tree: ast.AST) -> set[str]:
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }


def annotations(tree: ast.AST) -> str:
    parts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            parts += [one.annotation for one in arguments] + [node.returns]
        elif isinstance(node, ast.AnnAssign):
            parts.append(node.annotation)
    return " ".join(ast.unparse(one) for one in parts if one is not None)


def test_no_signature_asks_for_our_transformer() -> None:
    assert [name for name, tree in trees() if "Transformer" in annotations(tree)] == []


def test_nothing_looks_inside_our_transformer_or_tells_our_gates_apart() -> None:
    inside = {"embedding", "START_TOKEN_ID", "DynamicRouter", "FAMILY", "SCORING"}
    assert {name: bad for name, tree in trees() if (bad := names(tree) & inside)} == {}


def test_one_place_knows_the_names_of_weight_shards() -> None:
    knowing = {
        name
        for name, tree in trees(shared_only=False)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and "model-" in node.value
        and (".safetensors" in node.value or "-of-" in node.value)
    }
    assert knowing == {"model/fingerprint.py"}
