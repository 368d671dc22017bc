"""safethread_fork tells everything that happened in the child."""
import os
import signal
import sys
import threading
import time

import pytest


def test_value(safethread_fork):
    outcome = safethread_fork(lambda *args, **kwargs: (args, kwargs), 1, "a", key=[2], timeout=20)
    assert outcome.value == ((1, "a"), {"key": [2]})
    assert (outcome.exitcode, outcome.signal, outcome.timed_out) == (0, None, False)
    assert outcome.exception is None and outcome.traceback is None
    assert outcome.stdout == outcome.stderr == ""
    assert len(outcome.threads) == 1


def test_no_value(safethread_fork):
    assert safethread_fork(int).value == 0
    assert safethread_fork(lambda: None).value is None


def test_exception(safethread_fork):
    def function():
        raise ValueError("no such number")

    outcome = safethread_fork(function)
    assert isinstance(outcome.exception, ValueError) and str(outcome.exception) == "no such number"
    assert "in function" in outcome.traceback and "ValueError: no such number" in outcome.traceback
    assert (outcome.value, outcome.exitcode, outcome.signal) == (None, 1, None)


def test_exception_that_cannot_be_pickled(safethread_fork):
    class Local(Exception):
        pass

    def function():
        raise Local("strange")

    assert str(safethread_fork(function).exception) == "Local: strange"


class NeedsTwoArguments(Exception):
    def __init__(self, a, b):
        Exception.__init__(self, a + b)


class UnpickledAsNumber(Exception):
    def __reduce__(self):
        return int, ("5",)


def raise_error(kind, *args):
    raise kind(*args)


def test_exception_that_cannot_be_unpickled(safethread_fork):
    assert str(safethread_fork(raise_error, NeedsTwoArguments, 1, 2).exception) == "NeedsTwoArguments: 3"
    assert str(safethread_fork(raise_error, UnpickledAsNumber, "five").exception) == "UnpickledAsNumber: five"


def test_exception_of_pytest(safethread_fork):
    outcome = safethread_fork(pytest.fail, "not in the child")
    assert "not in the child" in str(outcome.exception) and outcome.exitcode == 1


def test_exit(safethread_fork):
    assert [safethread_fork(sys.exit, code).exitcode for code in (None, 0, 3)] == [0, 0, 3]
    outcome = safethread_fork(sys.exit, "goodbye")
    assert (outcome.exitcode, outcome.stderr) == (1, "goodbye\n")
    outcome = safethread_fork(os._exit, 5)
    assert (outcome.exitcode, outcome.value, outcome.threads) == (5, None, [])


def test_signal(safethread_fork):
    outcome = safethread_fork(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert (outcome.exitcode, outcome.signal, outcome.timed_out) == (None, signal.SIGKILL, False)


def test_output(safethread_fork):
    def function():
        sys.stdout.write("to stdout\n")
        sys.stderr.write("to stderr\n")
        os.write(1, b"directly\n")

    outcome = safethread_fork(function)
    assert (outcome.stdout, outcome.stderr) == ("to stdout\ndirectly\n", "to stderr\n")


def test_large_output_and_value(safethread_fork):
    def function():
        for _ in range(1000):
            sys.stdout.write("x" * 999 + "\n")
            sys.stderr.write("y" * 999 + "\n")
        return "z" * 1000000

    outcome = safethread_fork(function)
    assert [len(text) for text in (outcome.stdout, outcome.stderr, outcome.value)] == [1000000] * 3


def test_threads(safethread_fork):
    def function():
        thread = threading.Thread(target=time.sleep, args=(60,), name="left behind")
        thread.start()

    outcome = safethread_fork(function)
    assert "left behind" in outcome.threads and len(outcome.threads) == 2 and outcome.exitcode == 0


def test_standard_input_is_empty(safethread_fork):
    assert safethread_fork(lambda: sys.stdin.read()).value == ""
    assert safethread_fork(os.read, 0, 10).value == b""


def test_value_that_cannot_be_pickled(safethread_fork):
    def function():
        return threading.Lock()

    with pytest.raises(TypeError) as caught:
        safethread_fork(function)
    assert "function() returned a value that cannot be pickled, <" in str(caught.value)
    assert "lock" in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, None, "soon", True])
def test_wrong_timeout(safethread_fork, timeout):
    with pytest.raises(ValueError) as caught:
        safethread_fork(int, timeout=timeout)
    assert "give a number of seconds above 0" in str(caught.value)


def test_no_function(safethread_fork):
    with pytest.raises(TypeError):
        safethread_fork(3)
