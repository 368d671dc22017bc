"""The fixture safethread patches during one test, whatever that does to the patch. One test here has to fail."""
import threading

from patched import is_patched

NAMES = ("start", "run")

METHODS = [vars(threading.Thread)[name] for name in NAMES]


def test_with(safethread):
    assert is_patched() and safethread.is_installed()
    assert safethread.__name__ == "safethread_patch" and safethread.status()["installed"]


def test_fails(safethread):
    assert not is_patched()


def test_without():
    assert not is_patched()
    assert all(vars(threading.Thread)[name] is before for name, before in zip(NAMES, METHODS))


def test_with_all(safethread, safethread_fork):
    safethread.uninstall()


def test_over(safethread):
    patched = threading.Thread.start
    threading.Thread.start = lambda self: patched(self)


def test_restores():
    threading.Thread.start = METHODS[0]
