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

#: The function that is replaced.
NAME = "_start_joinable_thread" if _threads.HAS_HANDLE else "_start_new_thread"

#: Seconds until the first look whether the new thread is dead, and between two looks.
FIRST_PAUSE, PAUSE = 0.05, 0.2

#: Seconds between two tries to get the lock of the started event's condition.
BREAK = 0.001

DIED = (
    "start() made a new thread, which ended before it could run; stderr says why. "
    "The Thread is as it was before, and can be started again."
)


#: The classes of a started event, and of its condition's lock. The stock start() waits where they are others, as gevent's.
EVENT = type(threading.Event())
if EVENT.__module__ != "threading":
    EVENT = None
LOCK = type(_threads.low_level.allocate_lock())


class Interrupted(BaseException):
    """Carries an exception from here to start(), past the stock start() in between.

    That takes an Exception as the failure to make a thread, and takes the Thread out of limbo. But the exception may be a
    signal handler's, and the new thread would end with a KeyError when it registers. So start() decides, see clean_up().
    It is raised as a class: no call, in which another signal handler could raise, and no frame, which may fail.
    """


# 3.3 to 3.12
def _start_new_thread(function, args, *kwargs):
    try:
        claim = state.claims[id(function.__self__)]
    except (AttributeError, KeyError):
        note_unknown()
        return call_original(function, args, *kwargs)
    thread = claim[0]
    event = thread._started  # before the thread is made, which may initialise the Thread anew
    try:
        if COUNTS_REFERENCES:
            claim[2][:] = [{}]
            ident = call_original(function, args, claim[2][0])
        else:
            claim[2][:] = [[]]
            ident = call_and_note(call_original, function, args, claim[2][0])
        if type(event) is EVENT and type(event._cond._lock) is LOCK:
            lock = threading._allocate_lock()
            lock.acquire()
            event._cond._waiters.append(lock)
            if event._flag or not lock.acquire(True, FIRST_PAUSE) or event._cond._lock.locked():
                wait_on(claim, event, lock)
        return ident
    except Exception:
        raise Interrupted


# 3.13 and later
def _start_joinable_thread(function, handle=None, daemon=True):
    try:
        claim = state.claims[id(function.__self__)]
    except (AttributeError, KeyError):
        note_unknown()
        return call_original(function, handle=handle, daemon=daemon)
    thread = claim[0]
    event = thread._started
    try:
        claim[2][:] = [handle]
        result = call_original(function, handle=handle, daemon=daemon)
        if type(event) is EVENT and type(event._cond._lock) is LOCK:
            # As Event.wait() and Condition.wait(), whose frames cost more than all else here. No lock is needed: set() looks
            # at the waiters after it has set the flag, so one of the two sees the other.
            lock = threading._allocate_lock()  # looked up when called: a greenlet must not block its own hub
            lock.acquire()
            event._cond._waiters.append(lock)
            if event._flag or not lock.acquire(True, FIRST_PAUSE) or event._cond._lock.locked():
                wait_on(claim, event, lock)
        return result
    except Exception:
        raise Interrupted


def note_unknown():
    """Note that what is called to make a thread for the current start() is not known."""
    ident = _threads.low_level.get_ident()
    for claim in _threads.values_of(state.claims):
        if claim[1] == ident:
            claim[2].append(None)


def wait_on(claim, event, lock):
    """Wait on for the started event. Raises RuntimeError if there is no thread that could set it.

    ``lock`` is taken, and among the waiters of ``event``.
    """
    thread = claim[0]
    condition, waiters = _threads.waiters(event)
    while not (event.is_set() and condition.acquire(False)):
        if is_over(claim):
            condition = None
            break
        if event.is_set():
            time.sleep(BREAK)  # set() holds the condition's lock, unless the new thread has died there
        elif state.claims.get(id(thread)) is not claim and not event.is_set():  # a child that a signal handler has forked
            raise RuntimeError(DIED)
        elif START_HANGS_AT_EXIT and sys.is_finalizing():
            raise RuntimeError("can't create new thread at interpreter shutdown")  # as 3.12 does
        elif PY2:
            lock.acquire()  # the end of the new thread releases it, too
        else:
            lock.acquire(True, PAUSE)
    try:
        if lock in waiters:
            waiters.remove(lock)
    finally:
        if condition is not None:
            condition.release()
    # asked again: it may have run in between; or it has died within set()
    if condition is None and (not event.is_set() or has_no_thread(claim)):
        raise RuntimeError(DIED)


def has_no_thread(claim):
    """Tell whether no thread came of the start with this claim: it is in limbo, and nothing will take it out."""
    # in this order: a thread that is not over may register in between
    return is_over(claim) and state.claims.get(id(claim[0])) is claim and _threads.is_in_limbo(claim[0])


def clean_up(claim):
    """Make the Thread of a start that has failed one that was never started, unless there is a thread."""
    if has_no_thread(claim):
        threading._limbo.pop(claim[0], None)
        _threads.make_unstarted(claim[0])  # from 3.13 on the interpreter takes it for started


def is_over(claim):
    """Tell whether the thread of the start with this claim is over, or was not made.

    Up to 3.12 a dict tells, the keyword arguments of the new thread, of which there are none. The interpreter holds it until
    the thread is over, and nobody else does: no frame that a traceback keeps, and no hook for unraisable errors, which may
    keep the function.
    """
    if not claim[2]:  # not made, if the stock start() calls what is defined here
        function = getattr(threading, NAME)
        return type(function) is type(is_over) and function.__code__ in CODES
    if claim[2][0] is None:
        return False  # not known
    if _threads.HAS_HANDLE:
        return not claim[2][0].ident or claim[2][0].is_done()
    if PY2:
        return claim[2][0]() is None
    return sys.getrefcount(claim[2][0]) == 2 if COUNTS_REFERENCES else bool(claim[2][0])


def call_and_note(start_new_thread, function, args, notes):
    """Make a thread that enters something into the list ``notes`` when it is over, or cannot be made."""
    try:
        return start_new_thread(partial(_run_and_note, function, notes), args)
    except (RuntimeError, MemoryError):
        notes.append("not made")
        raise


def _run_and_note(function, notes):
    try:
        return function()
    finally:
        notes.append("over")


#: The code of what the stock start() calls.
CODES = [_start_new_thread.__code__, _start_joinable_thread.__code__]
