"""RouteScope: a model loaded from its folder, and what a capture hands to its sink."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.models.drivers.reading import Layer, Subject, drive
from data.routing import Document, RoutingBatch
from model.capture import capture_documents
from model.huggingface.loading import load_huggingface
from model.huggingface.model import HuggingFaceModel

MODELS: dict[Path, HuggingFaceModel] = {}


class Kept(list[RoutingBatch]):
    """A sink."""

    write = list[RoutingBatch].append


def load(folder: Path) -> Any:
    MODELS.clear()
    MODELS[folder] = load_huggingface(folder)
    return MODELS[folder].module


def read(subject: Subject, text: str) -> list[Layer]:
    kept = Kept()
    capture_documents(MODELS[subject.folder], [Document(doc_id=0, text=text)], kept)
    [batch] = kept
    ids_LTK = torch.from_numpy(batch.expert_ids_TLK).long().transpose(0, 1)
    weights_LTK = torch.from_numpy(batch.weights_TLK).transpose(0, 1)
    return [Layer(ids=i, weights=w) for i, w in zip(ids_LTK, weights_LTK, strict=True)]


if __name__ == "__main__":
    drive(read, package="torch", load=load)
