"""import safethread_patch.auto: patches this process and what it forks, when threading is first imported. It never
raises, and writes one line to stderr if something goes wrong.
"""
import os
import threading

from conftest import start_in_child
from environments import PATCHED, assert_one_message, assert_printed


def test_auto(environment):
    way = "from safethread_patch._cli import status; print(status._way())"
    program = "import safethread_patch.auto" + PATCHED + way
    assert_printed(environment.python("-c", program), True, "auto")


def test_auto_without_wrapt_never_raises(environment):
    environment.uninstall("wrapt")
    ended = environment.python("-c", "import safethread_patch.auto" + PATCHED)
    assert ended.status == 0 and ended.out == "False\n", ended
    assert_one_message(ended, "has no wrapt")


def import_auto_without_limbo():
    del threading._limbo
    import safethread_patch.auto  # noqa: F401

    os._exit(7)  # without threading's own clean-up, which needs _limbo


def test_auto_on_an_unsupported_interpreter_never_raises():
    ended = start_in_child(import_auto_without_limbo, env={"SAFETHREAD_PATCH": None})
    assert ended.status == 7, ended
    assert_one_message(ended, "UnsupportedInterpreter")
