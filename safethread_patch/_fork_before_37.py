"""What happens in a forked child before 3.7: there are no at-fork hooks, and the interpreter calls threading._after_fork.

It looks that function up by name in each child, whatever forked. The functions here are templates, see _ledger.
"""
import threading
from os import getpid

from safethread_patch import _threads
from safethread_patch._facts import CHILD_FAILS_AT_DUMMIES, CHILD_FORGETS_ENDED, CHILD_STOPS_UNSTARTED, PY2
from safethread_patch._fork import GET_IDENT, MODULES, POOLS, after_in_child, before
from safethread_patch._state import call_original, state
from safethread_patch._threads import HAS_MAIN_THREAD

if CHILD_FORGETS_ENDED:
    from safethread_patch._threads import _flags


def after_fork(is_plain=False):
    # Before 3.7 no signal handler runs between the call and a try statement that comes first, nor between a finally and a
    # try statement that comes first in it. Not even an assignment may come before it, so is_plain is an argument.
    try:
        active = threading._active
        is_alone = len(active) == 1 and not threading._limbo and getattr(threading, GET_IDENT)() in active
        if state.is_active and not is_alone:
            before()
            if CHILD_FAILS_AT_DUMMIES:
                _flags.complete_dummies()
        is_plain = is_alone and state.is_active and not (state.claims or state.wakeup_locks)
        return call_original()
    finally:
        try:
            # as in after_in_child(), but inline: each function is two pages more that the child copies
            lock = threading._active_limbo_lock
            active = threading._active
            is_right = is_plain and len(active) == 1 and lock is not state.limbo_lock and not getattr(lock, "locked", int)()
            is_right = is_right and POOLS not in MODULES
            if is_right and (not HAS_MAIN_THREAD or active.get(threading.get_ident()) is threading._main_thread):
                if CHILD_STOPS_UNSTARTED:
                    state.has_forked = True
                state.limbo_lock, state.pid = lock, getpid()
            else:
                after_in_child()
        finally:
            if state.pid != getpid():
                after_in_child()  # does what a signal handler kept the first call from


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
