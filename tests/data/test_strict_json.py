import json
import math
from pathlib import Path

import numpy as np
import pytest

from data.strict_json import json_text, read_object


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_a_number_that_is_not_finite_is_null(number: float) -> None:
    value = {"a": [number, (1.5, {"b": number})], "c": number}
    assert json.loads(json_text(value)) == {"a": [None, [1.5, {"b": None}]], "c": None}


def test_people_read_their_own_script_and_programs_read_ascii() -> None:
    assert json_text({"名": "前"}, indent=1) == '{\n "名": "前"\n}'
    assert json_text({"名": "\ud800"}).isascii()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1, "b": {"c": 2, "c": 3}}', "is not JSON: it has 'c' 2 times; copy it again"),
        ("[" * 100_000, "is not JSON: it is nested too deeply; copy it again"),
        ('{"a": %s}' % ("9" * 5_000), "is not JSON: a number of more than 4,300 digits; copy"),
        ("{", "is not JSON: Expecting property name"),
        ("[]", "is not a JSON object; copy it again"),
    ],
)
def test_what_is_no_object_is_refused(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=line):
        read_object(path, remedy="copy it again")
