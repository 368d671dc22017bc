"""What happens in a forked child before 3.7: there are no at-fork hooks, and the interpreter calls threading._after_fork.

It looks that function up by name in each child, whatever forked. The functions here are templates, see _ledger.
"""
import threading

from safethread_patch import _fork, _threads
from safethread_patch._facts import CHILD_FAILS_AT_DUMMIES, CHILD_FORGETS_ENDED, PY2
from safethread_patch._state import call_original, state

if CHILD_FORGETS_ENDED:
    from safethread_patch._threads import _flags


def after_fork():
    # Before 3.7 no signal handler runs between the call and a try statement that comes first, nor between a finally and a
    # try statement that comes first in it.
    try:
        if state.is_active:
            _fork.before()
            # the current thread is mostly the only one, and whether it is a dummy is not asked: that is one page less
            if CHILD_FAILS_AT_DUMMIES and (
                len(threading._active) > 1 or threading._get_ident() not in threading._active
            ):
                _flags.complete_dummies()
        return call_original()
    finally:
        try:
            _fork.after_in_child()
        finally:
            _fork.after_in_child()  # does what a signal handler kept the first call from


# To see that a thread has ended, the stock join() takes a lock of the Thread, which another join() may have held at the
# fork. Before 3.3.3 threading's part in the child makes no new lock for a Thread that has ended.
def join(self, timeout=None):
    if not state.is_active or not _has_ended(self):
        return call_original(self, timeout)
    if timeout is not None:
        0.0 + timeout  # raises what the original does
    if PY2 and __debug__:
        self._note("%s.join(): thread stopped", self)
    return None


def _has_ended(thread):
    try:
        return _flags.is_stopped(thread) and _threads.is_started(thread)
    except Exception:  # not initialised: the stock join() raises the error
        return False
