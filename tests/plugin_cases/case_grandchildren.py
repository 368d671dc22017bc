"""safethread_fork waits for the child alone, and takes the value from it alone."""
import os
import time


def test_grandchild_that_outlives_the_child(safethread_fork):
    def function():
        if os.fork():
            return "child"
        return time.sleep(60)

    before = time.time()
    assert safethread_fork(function).value == "child"
    assert time.time() - before < 30


def test_grandchild_that_returns(safethread_fork):
    def function():
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return "child" if pid else "grandchild"

    assert safethread_fork(function).value == "child"


def test_grandchild_that_returns_and_child_that_does_not(safethread_fork):
    def function():
        pid = os.fork()
        if not pid:
            return "grandchild"
        os.waitpid(pid, 0)
        return os._exit(3)

    outcome = safethread_fork(function)
    assert (outcome.value, outcome.exitcode) == (None, 3)


def test_both_stuck(safethread_fork):
    def function():
        os.fork()
        time.sleep(60)

    assert safethread_fork(function, timeout=0.5).timed_out
