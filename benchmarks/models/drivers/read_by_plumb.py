"""plumb-moe: a `Session`, which counts activations by expert."""

import torch
from plumb.session import Session
from reading import Layer, Subject, drive


def read(subject: Subject, text: str) -> list[Layer]:
    inputs = subject.inputs(text)
    subject.model(**inputs)  # for top_k, which a session asks for
    top_k = subject.top_k
    del subject.ran.chosen[:], subject.ran.weights[:]
    session = Session(subject.model, model_name=subject.folder.name, top_k=top_k)
    if session.start() == 0:
        raise ValueError("Session.start attached to 0 layers")
    subject.model(**inputs)
    session.stop()
    layers = []
    for layer in sorted(session.report().layers, key=lambda layer: layer.layer_id):
        counts = torch.zeros(
            1 + max(expert.expert_id for expert in layer.experts), dtype=torch.long
        )
        for expert in layer.experts:
            counts[expert.expert_id] = expert.token_count
        layers.append(Layer(counts=counts))
    return layers


if __name__ == "__main__":
    drive(read, package="plumb-moe")
