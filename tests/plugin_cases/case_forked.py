"""Tests that pytest-forked runs, one by one, in a session that is not patched."""
import pytest
from patched import is_patched


@pytest.mark.forked
@pytest.mark.safethread
def test_marked():
    assert is_patched()


@pytest.mark.forked
def test_fixture(safethread, safethread_fork):
    assert is_patched() and safethread_fork(is_patched).value


def test_stock():
    assert not is_patched()
