"""RouteScope: a model loaded from its folder, and what a capture hands to its sink.

Runs from the root of the repository, with PYTHONPATH=. set.
"""

from pathlib import Path
from typing import Any

import torch
from reading import Layer, Subject, drive

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
    ids_TLK = torch.from_numpy(batch.expert_ids_TLK).long()
    weights_TLK = torch.from_numpy(batch.weights_TLK)
    return [Layer(ids=i, weights=w) for i, w in zip(ids_TLK.unbind(1), weights_TLK.unbind(1))]


if __name__ == "__main__":
    drive(read, package="torch", load=load)
