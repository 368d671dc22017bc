"""safethread_fork works in a test that replaces, closes or takes away what it needs itself."""
import os
import signal
import subprocess
import sys
import time

import pytest

from safethread_patch import _pytest_fork

PARENT = os.getpid()


def test_os_exit(safethread_fork, monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: None)
    assert safethread_fork(lambda: 5).value == 5


def test_after():
    assert os.getpid() == PARENT


def test_sleep(safethread_fork, monkeypatch):
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert safethread_fork(lambda: real(0.2) or 5).value == 5


def test_ignored_children(safethread_fork):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        outcome = safethread_fork(lambda: 5)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert (outcome.value, outcome.exitcode) == (5, 0)


def test_closed_descriptors(safethread_fork):
    def function():
        os.closerange(3, 256)
        files = [open(os.devnull) for _ in range(20)]
        return len(files)

    assert safethread_fork(function).value == 20


def test_closed_standard_input(safethread_fork):
    saved = os.dup(0)
    os.close(0)
    try:
        outcome = safethread_fork(lambda: sys.__stdout__.write("hello\n") and None)
    finally:
        os.dup2(saved, 0)
    assert (outcome.stdout, outcome.exitcode) == ("hello\n", 0)


def test_replaced_stdout(safethread_fork):
    def function():
        sys.stdout = None
        os.write(1, b"still there")

    outcome = safethread_fork(function)
    assert (outcome.stdout, outcome.exitcode, outcome.stderr) == ("still there", 0, "")


def test_output_of_a_subprocess(safethread_fork):
    def function():
        os.write(2, b"first\n")
        subprocess.call("echo second > /dev/stdout; echo third >> /dev/stderr", shell=True)
        os.write(2, b"fourth\n")

    outcome = safethread_fork(function)
    assert (outcome.stdout, outcome.stderr) == ("second\n", "first\nthird\nfourth\n")


def test_interrupted_right_after_the_fork(safethread_fork, monkeypatch):
    def fork(real=_pytest_fork._os_fork):
        pid = real()
        if not pid:
            raise KeyboardInterrupt()
        return pid

    monkeypatch.setattr(_pytest_fork, "_os_fork", fork)
    assert safethread_fork(int).exitcode == 1


def test_arguments(safethread_fork):
    assert safethread_fork(lambda function: function, function=3).value == 3
    assert safethread_fork(int, timeout=float("inf")).value == 0
    with pytest.raises(ValueError):
        safethread_fork(int, timeout=float("nan"))
    with pytest.raises(TypeError):
        safethread_fork()
