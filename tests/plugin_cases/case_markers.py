"""What the markers say beats whether the session is patched, which the environment variable WANTED tells."""
import os

import pytest
from patched import is_patched

IS_SESSION_PATCHED = {"patched": True, "stock": False}[os.environ["WANTED"]]


def test_unmarked():
    assert is_patched() is IS_SESSION_PATCHED


@pytest.mark.safethread
def test_marked():
    assert is_patched()


def test_between():
    assert is_patched() is IS_SESSION_PATCHED


@pytest.mark.safethread(True)
def test_marked_true():
    assert is_patched()


@pytest.mark.safethread(False)
def test_marked_false():
    assert not is_patched()


@pytest.mark.safethread(on=False)
def test_marked_by_name():
    assert not is_patched()


@pytest.mark.safethread(False)
def test_marked_false_with_the_fixture(safethread):
    assert is_patched()


def test_after():
    assert is_patched() is IS_SESSION_PATCHED


@pytest.mark.safethread
class TestInClass(object):
    def test_it(self):
        assert is_patched()

    @pytest.mark.safethread(False)
    def test_closest(self):
        assert not is_patched()
