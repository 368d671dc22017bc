"""The call that makes the new thread, and the wait until that says that it runs: start() comes back (gh-140746).

The stock start() calls a function of _thread, and then waits for the started event, without a bound. A thread that dies
before it sets the event, or that can never run, leaves its starter waiting. So what takes the place of that function waits for
the event itself, and raises if the new thread is dead. The stock start() then does what it does when no thread can be made.
Otherwise its own wait finds the event set.

A slow thread is waited for without a bound, as on stock: death is known, not concluded from the time that has passed.
"""
import sys
import threading
import time
from functools import partial

from safethread_patch import _threads
from safethread_patch._facts import COUNTS_REFERENCES, PY2, START_HANGS_AT_EXIT
from safethread_patch._state import call_original, state

#: Seconds until the first look whether the new thread is dead, and between two looks.
FIRST_PAUSE, PAUSE = 0.05, 0.2

#: Seconds between two tries to get the lock of the started event's condition.
BREAK = 0.001

DIED = (
    "start() made a new thread, which ended before it could run; stderr says why. "
    "The Thread is as it was before, and can be started again."
)


#: The class of a started event. None where another tool, gevent for one, has replaced it: the stock start() waits then.
EVENT = type(threading.Event())
if EVENT.__module__ != "threading":
    EVENT = None


class Interrupted(BaseException):
    """Carries what a signal handler raised from the wait here to start(), past the stock start() in between.

    The stock start() takes an Exception as the failure to make a thread, and takes the Thread out of limbo. The new
    thread would end with a KeyError when it registers.
    """

    def __init__(self, error):
        BaseException.__init__(self)
        self.error = error


# 3.3 to 3.12
def _start_new_thread(function, args):
    try:
        claim = state.claims[id(function.__self__)]
    except (AttributeError, KeyError):  # not from a start() that is watched
        return call_original(function, args)
    thread = claim[0]
    try:
        if COUNTS_REFERENCES:
            ident = call_original(function, args, claim[2])
        else:
            ident = call_original(partial(_run_and_note, function, claim[2]), args)
            claim[2]["is made"] = True
        event = thread._started
        if type(event) is EVENT:
            lock = threading._allocate_lock()
            lock.acquire()
            event._cond._waiters.append(lock)
            if event._flag or not lock.acquire(True, FIRST_PAUSE) or event._cond._lock.locked():
                wait_on(thread, event, lock)
        return ident
    except Exception as error:
        if has_no_thread(thread):
            raise
        raise Interrupted(error)


# 3.13 and later
def _start_joinable_thread(function, handle=None, daemon=True):
    try:
        claim = state.claims[id(function.__self__)]
    except (AttributeError, KeyError):  # not from a start() that is watched
        return call_original(function, handle=handle, daemon=daemon)
    thread = claim[0]
    try:
        result = call_original(function, handle=handle, daemon=daemon)
        event = thread._started
        if type(event) is EVENT:
            # As Event.wait() and Condition.wait(), whose frames cost more than all else here. No lock is needed: set() looks
            # at the waiters after it has set the flag, so one of the two sees the other.
            lock = threading._allocate_lock()  # looked up when called: a greenlet must not block its own hub
            lock.acquire()
            event._cond._waiters.append(lock)
            if event._flag or not lock.acquire(True, FIRST_PAUSE) or event._cond._lock.locked():
                wait_on(thread, event, lock)
        return result
    except Exception as error:
        if has_no_thread(thread):
            raise
        raise Interrupted(error)


def wait_on(thread, event, lock):
    """Wait on for the started event. Raises RuntimeError if there is no thread that could set it.

    ``lock`` is taken, and among the waiters of ``event``.
    """
    condition, waiters = _threads.waiters(event)
    while not is_over(thread):
        if event.is_set():
            if condition.acquire(False):
                break
            time.sleep(BREAK)  # set() holds it, unless the new thread has died there
        elif _threads.started_event(thread) is not event and not event.is_set():  # a child that a signal handler has forked
            raise RuntimeError(DIED)
        elif START_HANGS_AT_EXIT and sys.is_finalizing():
            raise RuntimeError("can't create new thread at interpreter shutdown")  # as 3.12 does
        elif PY2:
            lock.acquire()  # the end of the new thread releases it, too
        else:
            lock.acquire(True, PAUSE)
    else:
        condition = None
    try:
        if lock in waiters:
            waiters.remove(lock)
    finally:
        if condition is not None:
            condition.release()
    if condition is None and (not event.is_set() or _threads.is_in_limbo(thread)):
        _threads.make_unstarted(thread)  # it may have died within set(), which leaves the condition locked
        raise RuntimeError(DIED)


def has_no_thread(thread):
    """Tell whether no thread came of a start of ``thread``, which then is as it was before."""
    # is_started() comes last: the thread may have run in between. In a child that a signal handler has forked limbo is empty.
    if not _threads.is_in_limbo(thread) or not is_over(thread) or _threads.is_started(thread):
        return False
    _threads.make_unstarted(thread)  # from 3.13 on the interpreter takes it for started
    return True


def clean_up(thread):
    """Take ``thread``, whose start failed, out of limbo, unless there is a thread that may still register."""
    if has_no_thread(thread):
        threading._limbo.pop(thread, None)


if _threads.HAS_HANDLE:
    is_over = _threads.has_no_thread
else:

    def is_over(thread):
        """Tell whether no thread was made for ``thread``, which has a claim, or that thread is over.

        The interpreter holds the keyword arguments of a new thread until that is over, and nobody else does: no frame that a
        traceback keeps, and no hook for unraisable errors, which may keep the function.
        """
        claim = state.claims.get(id(thread))
        if claim is None or getattr(threading._start_new_thread, "__code__", None) not in CODES:
            return False  # not known
        if PY2:
            return "life" not in claim[2] or claim[2]["life"]() is None
        if COUNTS_REFERENCES:
            return sys.getrefcount(claim[2]) == 2  # of the claim and of the call
        return "is made" not in claim[2] or "is over" in claim[2]


def _run_and_note(function, notes):
    try:
        return function()
    finally:
        notes["is over"] = True


#: The code of what the stock start() calls, up to 3.12.
CODES = [_start_new_thread.__code__]
