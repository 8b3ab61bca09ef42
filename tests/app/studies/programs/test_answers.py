"""Programs that pass and fail, and what their tests see of them."""

import pytest

from app.studies.programs.runner import CodeLimits
from tests.app.studies.programs.outcomes import outcome


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): return x + 1", "assert f(1) == 2"),
        (
            "def f(x): return {1: (x, {2}), 'a': [b'c', None, 1.5, 1j]}",
            "assert f(1)[1] == (1, {2})",
        ),
        ("def f(values): values.sort()", "given = [3, 1]\nf(given)\nassert given == [1, 3]"),
        ("def f():\n  yield from range(3)", "assert list(f()) == [0, 1, 2]"),
        ("def f(): raise KeyError('k')", "try:\n  f()\n  assert 0\nexcept KeyError: pass"),
        ("import math\nx = math.pi", "assert x == math.pi"),
        (
            "class Stack:\n  def __init__(s): s.items = []\n  def push(s, x): s.items.append(x)\n"
            "  def __len__(s): return len(s.items)",
            "stack = Stack()\nstack.push(5)\nassert stack.items == [5]\nassert len(stack) == 1\n"
            "assert isinstance(stack.items, list)",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n  x: int",
            "assert P(1) == P(1)\nassert P(1) != P(2)\nassert repr(P(1)) == 'P(x=1)'",
        ),
        (
            "class V:\n  def __str__(s): return 'V'\n  def __hash__(s): return 5\n"
            "  def __getitem__(s, x): return x",
            "assert f'{V()}' == str(V()) == 'V'\nassert hash(V()) == 5\n"
            "assert V()[0:2] == slice(0, 2)",
        ),
        (
            "def f(x): return x.decode()\ndef g(): return {}['no']\ndef h(): open('/none')",
            "try: f(b'\\xff')\nexcept UnicodeDecodeError as e: assert e.start == 0\n"
            "try: g()\nexcept KeyError as e: assert e.args == ('no',)\n"
            "try: h()\nexcept OSError as e: assert e.errno",
        ),
        (
            "n = 0\ndef f():\n  global n\n  n += 1",
            "f()\nassert n == 1\nf()\nassert n == 2",
        ),
    ],
    ids=[
        *("call", "data", "in place", "generator", "exception", "module", "class"),
        *("own methods of objects", "str, hash and slice", "exceptions", "globals"),
    ],
)
def test_tests_see_what_the_program_made(program: str, tests: str) -> None:
    assert outcome(program, tests) == "passed"


@pytest.mark.parametrize(
    ("imports", "returned", "expected"),
    [
        ("", "2**20000", "2**20000"),
        ("", "-(2**20000)", "-(2**20000)"),
        ("", "range(1, 9, 2)", "range(1, 9, 2)"),
        ("", "bytearray(b'ab')", "bytearray(b'ab')"),
        ("", "{'b': 1, 'a': 2}.keys()", "{'a': 0, 'b': 0}.keys()"),
        ("", "{'b': 1, 'a': 2}.items()", "{'a': 2, 'b': 1}.items()"),
        ("from decimal import Decimal", "Decimal('1.50')", "Decimal('1.5')"),
        ("from fractions import Fraction", "Fraction(1, 2)", "0.5"),
        ("from datetime import *", "datetime(2020, 1, 2, 3)", "datetime(2020, 1, 2, 3)"),
        ("from datetime import *", "date(2020, 1, 2)", "date(2020, 1, 2)"),
        ("from datetime import *", "time(1, 2)", "time(1, 2)"),
        ("from datetime import *", "timedelta(-1, 2, 3)", "timedelta(-1, 2, 3)"),
        ("from collections import *", "deque([1, 2])", "deque([1, 2])"),
        ("from collections import *", "Counter('aab').most_common(1)", "[('a', 2)]"),
        ("from collections import *", "OrderedDict(b=1, a=2)", "OrderedDict(b=1, a=2)"),
    ],
)
def test_plain_values_come_and_go_unchanged(imports: str, returned: str, expected: str) -> None:
    program = f"{imports}\ndef made(): return {returned}\ndef same(x): return [x] == [{expected}]"
    tests = f"{imports}\nassert made() == {expected} and type(made()) is type({returned})\n"
    assert outcome(program, f"{tests}assert same({returned})") == "passed"


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(xs): xs.sort()", "a = [3, 1]\nf(xs=a)\nassert a == [1, 3]"),
        ("def f(x): x.append(1)", "a = bytearray(b'a')\nf(a)\nassert a == b'a\\x01'"),
        ("def f(x, y): return y", "a, b = [1], [1]\nassert f(a, b) is b and f(b, y=a) is a"),
        ("class P: pass\none = P()\ndef f(): return one", "assert f() is f() and f()"),
        (
            "class P: pass\nclass Q(P): pass",
            "assert isinstance(Q(), P)\nassert not isinstance(1, P)",
        ),
        ("class P: pass", "assert P() != P() and not P() == P()"),
        (
            "from typing import NamedTuple\nclass P(NamedTuple):\n  x: int\n"
            "def f(p): return P(p.x + 1)",
            "assert f(P(1)).x == 2 and f(P(1)) == (2,)",
        ),
        (
            "class V:\n  def __init__(s, x): s.x = x\n  def __add__(s, o): return V(s.x + o.x)\n"
            "  def __float__(s): return float(s.x)",
            "assert (V(1) + V(2)).x == 3 and abs(float(V(1.5)) - 1.5) < 1e-9",
        ),
        (
            "class C:\n  def __enter__(s): return 5\n  def __exit__(s, *e): pass",
            "with C() as c:\n  assert c == 5",
        ),
    ],
)
def test_objects_behave_as_in_one_process(program: str, tests: str) -> None:
    assert outcome(program, tests) == "passed"


@pytest.mark.parametrize("prompt", ["", "def sum(xs):\n", "def sum(xs):\n    return ("])
def test_a_function_named_like_a_builtin_is_the_one_tested(prompt: str) -> None:
    tests = "def check(candidate):\n  assert sum([1, 2]) == candidate([1, 2]) == 3\ncheck(sum)"
    right, wrong = "def sum(xs):\n    return (xs[0] + xs[1])", "def sum(xs):\n    return (0)"
    assert outcome(right, tests, prompt=prompt) == "passed"
    assert outcome(wrong, tests, prompt=prompt) == "failed"
    if prompt:
        assert outcome(f"{wrong}\ndel sum", tests, prompt=prompt) == "failed"


def test_a_program_cannot_replace_the_builtins_it_is_measured_with() -> None:
    program = "def f(x):\n    return 7\ndef abs(x):\n    return 0"
    assert outcome(program, "assert abs(f(1) - 2) < 0.5", prompt="def f(x):\n") == "failed"


def test_a_module_is_taken_under_its_own_name_alone() -> None:
    program = "import pickle as json\ndef f(): return b'cbuiltins\\nprint\\n(tR.'"
    assert outcome(program, "assert json.loads(f()) is None") == "failed"


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): return x", "assert f(1) == 2"),
        ("def f(:", "assert True"),
        ("import sys; sys.exit(0)", "assert True"),
        ("import os; os._exit(0)", "assert True"),
        ("import os; os.abort()", "assert True"),
        ("x = 1", "import sys; sys.exit(0)"),
        ("x = 1", "assert y"),
    ],
    ids=["assertion", "syntax", "exit", "hard exit", "crash", "tests exit", "missing name"],
)
def test_what_does_not_run_to_the_end_of_its_tests_has_failed(program: str, tests: str) -> None:
    assert outcome(program, tests) == "failed"


def test_functions_of_the_prompt_are_those_of_the_task() -> None:
    prompt = "import math\ndef poly(x): return x - 3\ndef root():\n"
    tests = "assert math.fabs(poly(root())) < 1e-9"
    honest, hostile = "    return 3", "    global poly\n    poly = lambda x: 0\n    return 7"
    assert outcome(prompt + honest, tests, prompt=prompt) == "passed"
    assert outcome(prompt + hostile, tests, prompt=prompt) == "failed"


@pytest.mark.parametrize(
    "start",
    [
        "def f(x):\n    return (",
        "def f(x):\n    return (\n",
        "class A:\n    def f(self, x):",
        "@str\ndef f(\n    x,\n):\n# in one line\n\r\n",
        'def f(x):\n    """\ndef poly(',
    ],
)
def test_functions_of_the_prompt_are_protected_wherever_it_is_cut(start: str) -> None:
    prompt = f"def poly(x):\n    return 2 * x\n{start}"
    program = "def poly(x): return 0"
    assert outcome(program, "assert poly(1) == 2", prompt=prompt) == "passed"
    assert outcome(program, "assert poly(1) == 0", prompt=prompt) == "failed"


def test_the_function_that_a_prompt_ends_with_is_the_programs() -> None:
    prompt = "def f(x):\n    'Doubled.'\n# Your code:\n\r\n"
    assert outcome(f"{prompt}    return 2 * x", "assert f(1) == 2", prompt=prompt) == "passed"


def test_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 second, not 0"):
        CodeLimits(seconds=0)
