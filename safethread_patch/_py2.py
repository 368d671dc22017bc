"""Python 2: start() waits once, by a wait() that it lends to the Thread's started event.

The stock start() of Python 2 waits for the started event, which is set too early: half of all starts would have to wait
once more, and each wait costs two switches between threads. So while the stock start() runs, ``wait()`` of that one event
waits for what the new thread announces when it has registered, which is a moment later. The announcement comes from
``Thread._note()``, which the new thread calls right after it has registered, or from run(), or from ``Thread.__stop()``
if the thread dies before.

The locks of Python 2 have no timeout, and no signal interrupts a wait for one. So a wait is lent only to a Thread of
which it is known that it announces itself.
"""
import threading
import time
from functools import partial
from weakref import ref

from safethread_patch import _announce
from safethread_patch._announce import announce
from safethread_patch._new_thread import CODES, DIED, EVENT, LOCK, Interrupted, note_unknown, wait_on
from safethread_patch._state import call_original, state, wake
from safethread_patch._threads import low_level

_EVENT = type(threading.Event())
_BOOTSTRAP_INNER = threading.Thread._Thread__bootstrap_inner.__code__
_BOOTSTRAP = threading.Thread._Thread__bootstrap.__code__


# A new thread calls it right after it has registered, also a thread of a subclass with a run() of its own. Under -O
# nobody calls it.
def _note(self, format, *args):
    if state.wakeup_locks and self._Thread__ident is not None:  # start() calls it too, when there is no ident yet
        announce(self)
    if self._Verbose__verbose:  # the original checks the same, and is not called in vain
        call_original(self, format, *args)


# Each thread calls it at its end, also a thread that died before it registered.
def __stop(self):
    try:
        return call_original(self)
    finally:
        if state.wakeup_locks:
            announce(self)


def pause(lock, seconds):
    """Wait; the release of ``lock`` cannot end it."""
    time.sleep(seconds)


def _lend_wait(thread, lent):
    # what was lent goes into a list of the caller's: a return value is lost if a signal handler raises
    try:
        event = thread._Thread__started
        names = vars(event)
        if type(event) is not _EVENT or "wait" in names or not _will_announce(thread):
            return
        lock = low_level.allocate_lock()
        lock.acquire()
        lent.extend([names, lock])
        # the first starter of a thread that starts itself anew may still wait
        if state.wakeup_locks.setdefault(id(thread), lock) is lock:
            names["set"] = partial(_set_and_look, event.set, lock)
            names["wait"] = lock.acquire
        else:
            del lent[:]
    except Exception:  # not a Thread, or not initialised: the stock start() raises the error
        pass


class _Life(dict):
    """The keyword arguments of a new thread, of which there are none. Nobody but the interpreter holds them."""

    __slots__ = ("__weakref__",)


def _start_new_thread(function, args, *kwargs):
    try:
        claim = state.claims[id(function.__self__)]
    except (AttributeError, KeyError):
        note_unknown()
        return call_original(function, args, *kwargs)
    thread = claim[0]
    event = thread._Thread__started
    try:
        lent = state.wakeup_locks.get(id(thread))
        lock = lent or low_level.allocate_lock()
        if lent is None:
            lock.acquire()
        lives = [_Life()]  # a local variable would keep it
        claim[2][:] = [ref(lives[0], partial(_wake_at_death, lock))]
        ident = call_original(function, args, lives.pop())
        if lent is None and type(event) is EVENT and type(event._Event__cond._Condition__lock) is LOCK:
            event._Event__cond._Condition__waiters.append(lock)
            wait_on(claim, event, lock)
        return ident
    except Exception as error:
        claim[2].append(error)
        raise Interrupted


CODES.append(_start_new_thread.__code__)


def _wake_at_death(lock, life):
    if lock.locked():
        wake(lock)


def _has_died(thread, names, state=state):
    claim = state.claims.get(id(thread))
    return claim is not None and claim[2] and claim[2][0] is not None and claim[2][0]() is None and not names["_Event__flag"]


def call_with_lent_wait(stock_start, thread, lend_wait=_lend_wait, state=state, has_died=_has_died):
    """Call ``stock_start(thread)`` while the started event waits for the announcement of ``thread``, if it announces itself."""
    # Defaults, not globals: Python 2 sets those to None at exit, while daemon threads start others.
    lent = []
    try:
        lend_wait(thread, lent)
        result = stock_start(thread)
        if lent and has_died(thread, lent[0]):
            raise RuntimeError(DIED)
        return result
    finally:
        if lent:
            names, lock = lent
            names.pop("wait", None)
            names.pop("set", None)
            if state.wakeup_locks.get(id(thread)) is lock:  # in a forked child it may be the next starter's
                state.wakeup_locks.pop(id(thread), None)


def take_waits_back(threads):
    """Take back what the starts of ``threads`` lent that a fork copied; call it in a child."""
    for thread in threads:
        try:
            names = vars(thread._Thread__started)
            names.pop("wait", None)
            names.pop("set", None)
        except Exception:  # copied without __init__, say, or with an event of another kind
            pass


def _set_and_look(set_event, lock):
    set_event()
    # The starter waits without a timeout, and deaf to Ctrl-C. It may wait on only if the new thread waits for nothing
    # but the interpreter from here on, and if it is going to announce itself, which ends with uninstall().
    try:
        if state.is_active and not threading._active_limbo_lock.locked():
            return
    except Exception:  # somebody has put a lock of another kind there
        pass
    wake(lock)


def _will_announce(thread):
    """Tell whether ``thread`` announces itself once it has registered, and when it dies before that.

    Compares the code, not the functions: each install() makes new ones. Raises AttributeError if not.
    """
    return (
        type(threading._active_limbo_lock) is LOCK
        and thread._Thread__bootstrap.__code__ is _BOOTSTRAP
        and thread._Thread__bootstrap_inner.__code__ is _BOOTSTRAP_INNER
        and thread._Thread__stop.__code__ is __stop.__code__
        and (__debug__ and thread._note.__code__ is _note.__code__ or _will_run(thread))
    )


def _will_run(thread):
    # a trace hook is called before run(), and may wait for anything
    has_hook = threading._trace_hook or threading._profile_hook
    return not has_hook and thread.run.__code__ is _announce.run.__code__ and thread.run.__self__ is thread
