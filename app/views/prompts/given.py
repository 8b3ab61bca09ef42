"""What is given to a run: kept while it runs, and in the form again if its server ends."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.jobs.prompts import Upload, separate_texts
from app.views.prompts import uploads
from app.views.prompts.form import BACK, Request

OF = "given_back_of"  # in the session: the run


def kept(request: Request) -> dict[str, object]:
    """Plain data: the values of the form's controls, and the file."""
    prompts, sampling = request.prompts, request.sampling
    values: dict[str, object] = {"chat": request.chat}
    if sampling:
        values |= {"new_tokens": sampling.new_tokens, "seed": sampling.seed}
        for own in (True, False):
            values |= {f"temperature_{own}": sampling.temperature, f"top_p_{own}": sampling.top_p}
    if isinstance(prompts, Upload):
        return {"values": values, "file": prompts.name, "content": _encoded(prompts.content)}
    texts = [document.text for document in prompts.documents]
    one = len(texts) == 1 and len(separate_texts(texts[0])) > 1
    return {"values": values | {"pasted": "\n\n".join(texts), "one_text": one}}


def give_back(given: Mapping[str, Any]) -> None:
    """ValueError: it is damaged."""
    values, file = given.get("values"), given.get("file")
    if isinstance(values, dict):
        st.session_state[BACK] = values
    if isinstance(file, str):
        uploads.take(Upload(file, b64decode(str(given.get("content")))))


def _encoded(content: bytes) -> str:
    return b64encode(content).decode()
