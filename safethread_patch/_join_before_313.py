"""The wait for a thread's end, from 3.4 to 3.12: join() and is_alive() ask a lock that the interpreter releases at the end.

The stock functions take that lock and release it. An exception in between, as of Ctrl-C, leaves it taken up to 3.8 (bpo-45274).
From 3.9 on they take each exception for one in between, and mark a running Thread as ended (gh-90882). And while one
thread is in between, another one that joins the same Thread fails (gh-116372).

The functions here are templates, see _ledger. They look at the lock, and take it only together with its release, in one step.
So it is locked as long as the thread runs, and no longer. What they do then can be interrupted anywhere, and repeated.
"""
import threading
from threading import TIMEOUT_MAX

from safethread_patch._state import call_original, state
from safethread_patch._threads._tstate_lock import LOCK, forget_lock, wait_for_release

#: Seconds that the exit of the process waits until nobody who joins the main thread has its lock.
PATIENCE = 10


def _wait_for_tstate_lock(self, block=True, timeout=-1):
    lock = self._tstate_lock
    if lock is None and self._is_stopped:
        return None
    if type(lock) is not LOCK or not state.is_active:
        return call_original(self, block, timeout)
    if lock.locked() or not timeout <= TIMEOUT_MAX:  # acquire() raises the error
        if not block or timeout == 0 or not wait_for_release(lock, timeout):
            return None
    if self._tstate_lock is lock:  # it may have been initialised anew meanwhile
        self._is_stopped = True
        if not state.is_active:  # uninstalled meanwhile: an assertion of the stock _stop() fails if a stock join() has the lock
            self._tstate_lock = None
        self._stop()  # a subclass may have its own
        if forget_lock is not None:
            forget_lock(lock)
        self._tstate_lock = None
    return None


def _stop(self):
    if not state.is_active:
        return call_original(self)
    if self._is_stopped is True:
        return None  # _wait_for_tstate_lock() does the rest
    lock = self._tstate_lock
    # At exit threading releases the lock of the main thread, and calls this. On PyPy a lock is locked as soon as one who waits
    # for it can have it, before that one gets the GIL.
    if self is threading._main_thread and type(lock) is LOCK and lock.locked() and wait_for_release(lock, PATIENCE):
        self._is_stopped, self._tstate_lock = True, None
        return None
    return call_original(self)
