"""For sessions that are patched, with another plugin."""
import pytest
from patched import is_patched


def test_patched():
    assert is_patched()


@pytest.mark.safethread(False)
def test_stock():
    assert not is_patched()


def test_fork(safethread_fork):
    assert safethread_fork(is_patched).value is True
