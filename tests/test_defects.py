"""One test for each defect: the stock interpreter has it, and it is gone with the patch."""
import platform
import sys

import pytest
from conftest import in_child, run
from helpers import bring_back_issue_18418, nothing_seen

import safethread_patch
from safethread_patch import _facts
from safethread_patch._defects import _hold, trial_of

ROUNDS = 5

CPYTHON = platform.python_implementation() == "CPython"


def result_of(defect, mode):
    from safethread_patch._cli.check import _try  # the children do not need it

    result = _try(defect.id, mode, ROUNDS)
    if not result["rounds"]:
        pytest.skip(result["note"])
    return result


@pytest.mark.parametrize("defect", _facts.DEFECTS, ids=lambda defect: defect.id)
def test_defect_is_seen_on_stock(defect):
    stock = result_of(defect, "stock")
    if not defect.here:
        assert stock["hits"] == 0, stock  # status() does not name it
        pytest.skip("healed in %s" % defect.healed_upstream)
    assert stock["hits"] == ROUNDS, stock


@pytest.mark.parametrize("defect", _facts.DEFECTS, ids=lambda defect: defect.id)
def test_defect_is_gone_with_the_patch(defect):
    patched = result_of(defect, "patched")
    assert patched == {"hits": 0, "rounds": ROUNDS}


# Issue 18418, brought back on an interpreter that has healed it


@pytest.mark.skipif(
    CPYTHON and sys.version_info >= (3, 9),
    reason="since 3.9 a child deletes the states of threads that are gone, which ends them",
)
@pytest.mark.parametrize("defect", ["zombie-after-fork", "zombie-fork-during-start"])
@in_child
def test_zombies_brought_back(defect):
    trial = trial_of(defect)
    bring_back_issue_18418()
    for _ in range(5):
        answer = trial()
        assert answer == "still alive in the child", answer
    safethread_patch.install()
    for _ in range(5):
        nothing_seen(trial())


# How in_forked_child() names the death of a child

# A whole program: its at-fork hook has to be older than that of _hold, which every module of the tests imports.
DYING_CHILDREN = """
import os
import signal

def die():
    os.kill(os.getpid(), signal.SIGKILL)

deadly = []
os.register_at_fork(after_in_child=lambda: deadly and die())

from safethread_patch._defects import _hold

assert _hold.in_forked_child(die) == "the child was killed by signal 9"
deadly.append(1)
print(_hold.in_forked_child(int))
"""


@pytest.mark.skipif(not _facts.AT_FORK_HOOKS, reason="no at-fork hooks before 3.7")
def test_child_that_dies_in_fork_is_told_from_one_that_dies_later():
    ended = run([sys.executable, "-W", "ignore", "-c", DYING_CHILDREN])
    lost = _hold.LOST_IN_FORK if _facts.FREE_THREADED else "the child was killed by signal 9"
    assert (ended.status, ended.out) == (0, lost + "\n"), ended


# The facts that status() tells


@pytest.mark.skipif(not CPYTHON, reason="measured on CPython")
def test_defects_of_this_interpreter_are_those_that_were_measured():
    version = sys.version_info[:3]
    here = set(defect.id for defect in _facts.DEFECTS if defect.here)
    expected = set(["unregistered-start", "double-start", "hung-start", "spoiled-child"])
    if version < (2, 7, 6) or (3,) <= version < (3, 3, 3):
        expected |= set(["zombie-after-fork", "zombie-fork-during-start"])
    else:
        expected.add("inflight-after-fork")
    if (3, 6) <= version < (3, 13, 4):
        expected.add("unstarted-after-fork")
    if (3, 8) <= version < (3, 13, 4):
        expected.add("stale-native-id")
    if version >= (3, 13):
        expected.add("refused-start")
    if (3, 4) <= version < (3, 13):
        expected.add("interrupted-join")
    if _facts.POOLS:
        expected.add("dead-pool-after-fork")
    assert here == expected
