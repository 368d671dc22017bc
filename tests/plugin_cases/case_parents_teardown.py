"""The child runs the function alone: nothing that the parent has registered for its end. It notes what it runs."""
import atexit
import os

import pytest

PARENT = os.getpid()


def note(text):
    if os.getpid() != PARENT:
        with open("notes", "a") as file:
            file.write(text)


atexit.register(note, "atexit")


@pytest.fixture
def resource():
    yield
    note("teardown")


def test_child(resource, safethread_fork):
    assert safethread_fork(note, "function").value is None

    def fail():
        raise AssertionError()

    assert safethread_fork(fail).exitcode == 1


def test_after():
    assert os.getpid() == PARENT
