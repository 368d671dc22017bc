"""What happens in a forked child: every Thread but the current one becomes stopped, or was never started.

By repair, never by a gate in front of the fork: concurrent.futures and logging hold a lock across
Thread.start and take the same lock in a before-fork hook, so whoever waits there waits for ever.
Nothing here raises, waits, logs, or takes a lock that another thread may hold.
"""
import os
import threading
import weakref

from safethread_patch import _threads
from safethread_patch._facts import CHILD_FAILS_AT_DUMMIES, CHILD_KEEPS_NATIVE_ID, CHILD_STOPS_UNSTARTED, FREE_THREADED, PY2
from safethread_patch._threads import active, starts, stopped_by_fork

# What costs here is not time but memory: each object that is looked at first in a child is on a page that is
# copied then. So nothing is looked at that need not be.


def _repair_starts(suspects):
    """Repair what starts in flight left in the current process, a forked child, after threading's own part.

    ``suspects``: threads to look at besides those whose start is known to have been in flight.
    """
    _threads.enter_process()
    suspects = _threads.take_copied_starts() + suspects
    # the current thread, and what at-fork hooks older than ours have started
    alive = _threads.values_of(threading._active)
    for thread in suspects:
        if thread is not None and not any(other is thread for other in alive):
            _quietly(_threads.repair, thread)


def _quietly(function, *args):
    try:
        function(*args)
    except Exception:  # a subclass's __setattr__, say: the next thread still wants its repair
        pass


# For os.register_at_fork. They cannot be taken back, and are inert while the patch is not installed.


def before():
    """Note who is in limbo: after the fork it is too late, for threading has cleared it then.

    Those whose start is not known to be in flight matter: it began before install(), or was left by
    Ctrl-C, or is none of ours.
    """
    if not active:
        return
    if CHILD_STOPS_UNSTARTED:  # here, for an at-fork hook older than ours may start a thread in the child
        stopped_by_fork[:] = [True]
    if threading._limbo or starts.in_limbo:
        ident, pid = _threads.low_level.get_ident(), os.getpid()
        noted = [weakref.ref(thread) for thread in _threads.values_of(threading._limbo)]
        if ident in starts.in_limbo and starts.in_limbo[ident][0] != pid:
            # an at-fork hook older than ours forks a child that is itself to be repaired, and its limbo is cleared
            noted += starts.in_limbo[ident][1]
        if noted:
            starts.in_limbo[ident] = pid, noted
        else:
            starts.in_limbo.pop(ident, None)


def after_in_child():
    """Repair the current process, a forked child, unless that is done."""
    if active:
        if FREE_THREADED and not _threads.is_to_be_repaired():
            # by the start() of an older hook's thread; or somebody has put a limbo lock of their own there
            _threads.enter_process()
            return
        if CHILD_STOPS_UNSTARTED:  # the fork may have been none that before() has seen
            stopped_by_fork[:] = [True]
        suspects = []
        if starts.in_limbo:
            _, noted = starts.in_limbo.get(_threads.low_level.get_ident(), (None, ()))
            suspects = [ref() for ref in noted]
            starts.in_limbo = {}
        if starts.in_flight or starts.waiting or suspects or FREE_THREADED:
            _repair_starts(suspects)
        if CHILD_KEEPS_NATIVE_ID:
            _threads.renew_native_id()


# Before 3.7. As in _start, these are templates: the interpreter looks _after_fork up by name in every
# child, whatever forked.
original = call = None


def after_fork():
    # mostly, the current thread is the only one; and its own lock is not asked for
    dummies = CHILD_FAILS_AT_DUMMIES and (
        len(threading._active) > 1 or threading._get_ident() not in threading._active
    )
    if not (CHILD_STOPS_UNSTARTED or dummies or threading._limbo or starts.in_flight or starts.waiting) or not active:
        return original()
    suspects = _threads.values_of(threading._limbo)
    if CHILD_STOPS_UNSTARTED:
        stopped_by_fork[:] = [True]
    if dummies:
        _quietly(_threads.complete_dummies)
    try:
        return original()
    finally:
        if starts.in_flight or starts.waiting or suspects:
            _repair_starts(suspects)


# To see that a thread has ended, the stock join() takes a lock of the thread, which another join() may have
# held at a fork; and before 3.3.3 the child's threading did not give new locks to threads that had ended.
def join(self, timeout=None):
    if not active or not _has_ended(self):
        return call(self, timeout)
    if timeout is not None:
        0.0 + timeout  # raises what the original does
    if PY2 and __debug__:
        self._note("%s.join(): thread stopped", self)
    return None


def _has_ended(thread):
    try:
        return _threads.is_stopped(thread) and _threads.is_started(thread)
    except Exception:  # not initialised: the stock join() says so
        return False
