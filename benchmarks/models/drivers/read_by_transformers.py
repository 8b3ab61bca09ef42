"""`output_router_logits=True` of transformers, and what follows of it: the largest of a softmax."""

from benchmarks.models.drivers.reading import Layer, Subject, drive


def read(subject: Subject, text: str) -> list[Layer]:
    output = subject.model(**subject.inputs(text), output_router_logits=True)
    names = sorted(name for name in output if name.endswith("router_logits"))
    names.sort(key="decoder_router_logits".__eq__)  # the encoder runs first
    logits = [layer for name in names for layer in output[name] or () if layer is not None]
    if not logits:
        raise ValueError("the output has no router logits")
    scores = [x.reshape(-1, x.shape[-1]).softmax(-1) for x in logits]
    return [Layer(ids=x.topk(min(subject.top_k, x.shape[-1])).indices) for x in scores]


if __name__ == "__main__":
    drive(read, package="transformers")
