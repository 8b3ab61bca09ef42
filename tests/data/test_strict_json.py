import json
import math

import numpy as np
import pytest

from data.strict_json import json_text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_a_number_that_is_not_finite_is_null(number: float) -> None:
    value = {"a": [number, (1.5, {"b": number})], "c": number}
    assert json.loads(json_text(value)) == {"a": [None, [1.5, {"b": None}]], "c": None}


def test_people_read_their_own_script_and_programs_read_ascii() -> None:
    assert json_text({"名": "前"}, indent=1) == '{\n "名": "前"\n}'
    assert json_text({"名": "\ud800"}).isascii()
