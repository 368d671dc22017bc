"""The soak in its short form; nox -s soak is the long one."""
import os
import platform
import sys

import pytest
from conftest import run

from safethread_patch import _facts

# [versions]
SOAKED = _facts.FREE_THREADED or sys.version_info[:2] in [(2, 7), (3, 11), (3, 15)]


@pytest.mark.skipif(not SOAKED or platform.python_implementation() != "CPython", reason="the soak's four are enough")
def test_nothing_hangs_crashes_or_lies_for_20_seconds():
    soak = os.path.join(os.path.dirname(os.path.abspath(__file__)), "soak.py")
    ended = run([sys.executable, soak, "20"], deadline=120)
    print(ended.out)
    assert ended.status == 0, ended
