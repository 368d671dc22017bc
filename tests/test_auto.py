"""import safethread_patch.auto: patches this process and what it forks, when threading is first imported. It never
raises, and writes one line to stderr if something goes wrong.
"""
import os
import threading

import pytest
from conftest import PY2, start_in_child
from environments import PATCHED, assert_one_message, assert_printed


def test_auto(environment):
    way = "from safethread_patch._cli import status; print(status._way())"
    program = "import safethread_patch.auto" + PATCHED + way
    assert_printed(environment.python("-c", program), True, "auto")


@pytest.mark.skipif(PY2, reason="no specs")
def test_auto_in_a_program_whose_modules_have_no_file(environment):
    # as of PyOxidizer, or frozen with CPython's own tool
    program = """
import sys
from importlib.machinery import ModuleSpec

class Frozen(object):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "safethread_patch":
            return None
        base = sys.argv[1] + "/" + name.replace(".", "/")
        try:
            self.text = open(base + ".py").read()
        except IOError:
            self.text = open(base + "/__init__.py").read()
            return ModuleSpec(name, self, is_package=True)
        return ModuleSpec(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(self.text, module.__name__.rpartition(".")[2] + ".py", "exec"), module.__dict__)

sys.meta_path.insert(0, Frozen())
sys.path[:] = [entry for entry in sys.path if entry != sys.argv[1]]
import safethread_patch.auto, threading
assert not hasattr(safethread_patch, "__file__")
print(threading.Thread.start.__code__.co_filename)
"""
    assert_printed(environment.python("-c", program, environment.site), "_start.py")


def import_auto_without_limbo():
    del threading._limbo
    import safethread_patch.auto  # noqa: F401

    os._exit(7)  # without threading's own clean-up, which needs _limbo


def test_auto_on_an_unsupported_interpreter_never_raises():
    ended = start_in_child(import_auto_without_limbo, env={"SAFETHREAD_PATCH": None})
    assert ended.status == 7, ended
    assert_one_message(ended, "UnsupportedInterpreter")
