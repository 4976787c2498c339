"""Wrong arguments of every public function: errors of ours, with a sentence.

The calls are made in another process, so that one that hangs, needs too much memory or
ends the process fails this test alone.
"""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import wrong_calls

import mfpde

SCRIPT = Path(wrong_calls.__file__)
# Every so many calls are made: a share of each function, argument and wrong value.
N_PARTS = 10


def failures(part, n_parts, areas):
    """What the script finds."""
    command = [sys.executable, str(SCRIPT), str(part), str(n_parts), *areas]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["n_calls"] > 0
    return found["failures"]


def as_text(found):
    return "\n".join(" | ".join(map(str, each)) for each in found[:40])


def test_wrong_arguments_get_a_sentence():
    found = failures(0, N_PARTS, wrong_calls.AREAS)
    assert not found, as_text(found)


@pytest.mark.slow
@pytest.mark.parametrize("area", wrong_calls.AREAS)
def test_all_wrong_arguments_get_a_sentence(area):
    found = failures(0, 1, [area])
    assert not found, as_text(found)


def public_names():
    """module.name of every function and class that is public."""
    for module_name in mfpde.__all__:
        module = getattr(mfpde, module_name)
        if not inspect.ismodule(module):
            if callable(module):
                yield module_name, module
            continue
        for name in getattr(module, "__all__", dir(module)):
            thing = getattr(module, name)
            is_ours = getattr(thing, "__module__", "").startswith(module.__name__)
            listed = hasattr(module, "__all__")
            if callable(thing) and not name.startswith("_") and (listed or is_ours):
                yield f"{module_name}.{name}", thing


def test_every_public_name_is_called(tmp_path, monkeypatch):
    """A new function needs a valid call in the table of the script, or a reason."""
    monkeypatch.chdir(tmp_path)
    entries = wrong_calls.make_surface(tmp_path, wrong_calls.AREAS)
    called = {entry.name.split("[")[0].split("(")[0].split()[0] for entry in entries}
    called |= {each.split(".")[0] for each in called}
    called |= {each.split(".", 1)[-1] for each in called}
    missing = [
        name
        for name, thing in public_names()
        if name not in called
        and name.split(".", 1)[-1] not in called
        and name not in wrong_calls.NOT_CALLED
        and name.split(".")[0] not in wrong_calls.NOT_CALLED
        and not wrong_calls.is_result(thing)
    ]
    assert not missing


def test_the_check_sees_a_raw_error():
    """The rule can fail: for errors of Python's own, and without the name."""

    def raw(n):
        return [0] * n

    entry = wrong_calls.Entry("raw", raw, {"n": 1})
    for error in (TypeError("n"), KeyError("n"), MemoryError()):
        assert wrong_calls.fault_of_error(entry, "n", error) is not None
    with pytest.raises(TypeError) as caught:
        raw("a")
    assert wrong_calls.fault_of_error(entry, "n", caught.value) is not None
    with pytest.raises(TypeError) as caught:
        mfpde.DepthGrid.euler("a")
    ours = wrong_calls.Entry("ours", mfpde.DepthGrid.euler, {"n": 1})
    assert wrong_calls.fault_of_error(ours, "n", caught.value) is None
    assert inspect.isclass(wrong_calls.Hangs)
