"""What _facts says of the interpreter."""
import sys
import sysconfig

import pytest
from conftest import run

from safethread_patch import _facts

GIL_IS_ON = """
import sys
sys._is_gil_enabled = lambda: True
from safethread_patch import _facts
print(_facts.FREE_THREADED)
"""


@pytest.mark.parametrize("env", [{}, {"PYTHON_GIL": "1"}])
def test_build_is_asked_and_not_whether_the_gil_is_on(env):
    # it is on within the import of an extension that does not say that it can do without
    is_free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert _facts.FREE_THREADED is is_free_threaded
    ended = run([sys.executable, "-c", GIL_IS_ON], env=env)
    assert (ended.status, ended.out, ended.err) == (0, "%s\n" % is_free_threaded, ""), ended
