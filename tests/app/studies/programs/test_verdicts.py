"""Programs that try to say themselves that they have passed."""

import pytest

from tests.app.studies.programs.outcomes import outcome

# Where nothing confines a program it must not harm the machine: it attacks the processes that the
# runner started beside it, and no others.
SIBLINGS = """import os
def parent(process):
  try: return open(f'/proc/{process}/stat').read().rsplit(')', 1)[1].split()[1]
  except OSError: return ''
mine = parent(os.getpid())
try: listed = os.listdir('/proc')
except OSError: listed = []
siblings = [one for one in listed if one.isdigit() and parent(one) == mine]
siblings = [one for one in siblings if one != str(os.getpid())]
siblings = [one for one in siblings if 'confinement' in open(f'/proc/{one}/cmdline').read()]
"""


FORGERIES = {
    "frames": "import sys\nframe = sys._getframe()\nwhile frame:\n"
    "  for value in [*frame.f_globals.values(), *frame.f_locals.values()]:\n"
    "    if isinstance(value, dict): value.update(tests='', passed=True)\n"
    "  for name in ('verdict', 'main', 'answer', 'described'):\n"
    "    frame.f_globals[name] = lambda *given: True\n"
    "  frame = frame.f_back",
    "every descriptor": "import os\nfor number in range(64):\n"
    "  try: os.write(number, b'passed')\n  except OSError: pass",
    "descriptors of its judge": SIBLINGS + "for process in siblings:\n"
    "  for number in range(16):\n"
    "    path = f'/proc/{process}/fd/{number}'\n"
    "    try:\n"
    "      if os.readlink(path).startswith('pipe:'):\n"
    "        os.write(os.open(path, os.O_WRONLY), b'passed')\n"
    "    except OSError: pass",
    "its judge as it starts": "import os, time\nend = time.monotonic() + 1.5\n"
    "while time.monotonic() < end:\n  for process in range(os.getpid() + 1, os.getpid() + 12):\n"
    "    try:\n      for number in os.listdir(f'/proc/{process}/fd'):\n"
    "        path = f'/proc/{process}/fd/{number}'\n"
    "        if os.readlink(path).startswith('pipe:'):\n"
    "          os.write(os.open(path, os.O_WRONLY | os.O_NONBLOCK), b'passed')\n"
    "    except OSError: pass",
    "memory of its judge": SIBLINGS + "for process in siblings:\n"
    "  try: open(f'/proc/{process}/mem', 'r+b')\n"
    "  except OSError: continue\n",
    "garbage collector": "import gc\nfor value in gc.get_objects():\n"
    "  if hasattr(value, 'write') and 'b' in str(getattr(value, 'mode', '')):\n"
    "    try: value.write(b'passed\\n' * 9); value.flush()\n    except Exception: pass",
    "at exit": "import atexit, os\natexit.register(lambda: os.write(1, b'passed'))",
    "builtins": "import builtins\nbuiltins.AssertionError = Exception\n"
    "builtins.compile = lambda *given: ''\nbuiltins.exec = lambda *given: None",
    "signals to its judge": SIBLINGS + "for process in siblings:\n"
    "  try: os.kill(int(process), 9)\n  except OSError: pass",
    "equal to all": "class Any:\n  def __eq__(self, other): return True\n"
    "  def __sub__(self, other): return self\n  def __lt__(self, other): return True\n"
    "  __rsub__ = __abs__ = __sub__",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_program_cannot_say_that_it_has_passed(name: str, system: str) -> None:
    answer = "Any()" if name == "equal to all" else "x"
    program = f"{FORGERIES[name]}\ndef f(x): return {answer}\n"
    assert outcome(program, "assert f(1) == 2") == "failed"
    assert outcome(program, "assert abs(f(1) - 2) < 0.5") == "failed"


@pytest.mark.parametrize("system", ["neither"], indirect=True)
def test_a_program_begins_when_nobody_can_look_into_its_judge(system: str) -> None:
    """The filter of system calls (2) is the last that a process confines itself with."""
    program = SIBLINGS + "states = [open(f'/proc/{one}/status').read() for one in siblings]"
    tests = "assert ['Seccomp:\\t2' in one for one in states] == [True]"
    assert [outcome(program, tests) for _ in range(8)] == ["passed"] * 8


def test_answers_made_up_while_tests_ask_are_data_and_no_verdict(system: str) -> None:
    program = "import os\ndef f(x):\n  os.write(4, b'{\"passed\": 1}\\n'); os._exit(0)"
    assert outcome(program, "assert f(1) == 2") == "failed"
