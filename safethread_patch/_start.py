"""The starter's side of a start: start() returns once the new thread is registered.

Registered means that the Thread is not in ``threading._limbo``. The table of steps is in _state.
"""
import threading
import time
from os import getpid

from safethread_patch import _facts, _fork, _new_thread, _threads
from safethread_patch._facts import FREE_THREADED, PY2
from safethread_patch._state import call_original, state, wake
from safethread_patch._threads import low_level

if PY2:
    from safethread_patch._py2 import call_with_lent_wait, pause

#: Seconds between two looks at the registry, 10 s in all. The pauses are counted, because clocks may be frozen. A
#: thread that has not registered after the last one is probably held up by somebody who waits for this start(). Only
#: returning helps then, and the stock start() returns as well.
PAUSES = [0.0001 * 2**exponent for exponent in range(10)] + [0.1] * 99


def start(self):
    if not state.is_active:
        return call_original(self)
    if state.pid != getpid():
        # A forked child: an at-fork hook older than the patch's starts a thread, or C code has forked, and ran no hook.
        _fork.repair_before_hook(self)
    error = None
    key = id(self)
    claim = (self, low_level.get_ident(), [])
    try:
        if state.claims.setdefault(key, claim) is not claim:
            _take_claim(key, claim)
        if state.has_forked:
            _undo_stop(self)
        if FREE_THREADED:
            state.claimed_threads[key] = self
        result = call_with_lent_wait(call_original, self) if PY2 else call_original(self)
        # Limbo is mostly empty, and that is cheaper to ask than whether self is in it. A free-threaded dict says that
        # it is empty a moment before its last entry is removed.
        if FREE_THREADED or threading._limbo:
            wait_until_registered(self)
        if state.is_before_hook:
            _fork.note_early_thread(self)
        return result
    except _new_thread.Interrupted as interrupted:
        error = state.claims.get(key, claim)[2].pop() if PY2 else interrupted.__context__
        _clean_up(claim)
    except BaseException:
        _clean_up(claim)
        raise
    finally:
        # No call between the look and the del: from 3.10 on a signal handler cannot run between two statements without a
        # call or a loop, and one that raises would leave the claim in the table. The tables are looked up again: this
        # may be a child, which has tables of its own.
        try:
            if state.claims[key] is claim:
                del state.claims[key]
                if FREE_THREADED:
                    state.claimed_threads.pop(key, None)
        except KeyError:  # another start had the claim, and has ended
            if FREE_THREADED:  # if it was a Thread that starts itself anew, it has ended before the next line of that
                state.claimed_threads.pop(key, None)
    try:
        raise error
    finally:
        del error  # whose traceback has this frame


def _clean_up(claim):
    try:
        _new_thread.clean_up(claim)
    except Exception:  # not a Thread, or not initialised
        pass


def _take_claim(key, claim):
    """Return if this start may go on although another one has the claim; raise the error of a second start if not."""
    thread, ident, _ = claim
    while True:
        other_claim = state.claims.setdefault(key, claim)
        if other_claim is claim:
            return  # the other start has just ended, and the stock start() sees how
        other_ident = other_claim[1]
        if threading._active.get(ident) is thread:
            # the thread has called its __init__ within its own run(), before its first starter came back
            state.claims[key] = claim
        elif other_ident == ident and not _threads.is_in_limbo(thread):
            return  # start wrappers nest: this patch, another tool's patch over it, and this patch again over that
        else:
            raise RuntimeError(_facts.STARTED_TWICE)


def _undo_stop(thread):
    try:
        _threads.undo_stop(thread)
    except Exception:  # not a Thread, or not initialised: the stock start() raises the error
        pass


def wake_all():
    """Wake all starters; for uninstall(). New threads announce nothing from then on, and Python 2 waits without a timeout."""
    for lock in _threads.values_of(state.wakeup_locks):
        wake(lock)


def wait_until_registered(thread):
    """Wait until ``thread`` has left limbo, will never leave it, or the PAUSES are over."""
    if not _threads.is_in_limbo(thread):
        return
    # On Python 2 uninstall() may have woken the starter before the stock start() would have returned.
    while not (_threads.is_started(thread) or _threads.is_dead(thread)) and _threads.is_in_limbo(thread):
        time.sleep(PAUSES[0])
    # Lock and sleep are looked up when called: a greenlet must not block its own hub.
    lock = threading.Lock()
    lock.acquire()
    key = id(thread)
    try:
        # A thread that starts itself anew has two starters for a moment. The second one is not woken.
        state.wakeup_locks.setdefault(key, lock)
        # Look again once the lock is in the table: the thread may have announced itself just before.
        for pause in PAUSES:
            if not _threads.is_in_limbo(thread) or _will_not_register(thread):
                return
            _pause(lock, pause)
    finally:
        try:  # no call between the look and the del, as in start()
            if state.wakeup_locks[key] is lock:
                del state.wakeup_locks[key]
        except KeyError:
            pass


def _will_not_register(thread):
    if _threads.is_dead(thread):
        # gh-140746: the thread died of a MemoryError while it registered, and enumerate() would list it from then on
        try:
            threading._limbo.pop(thread, None)
        except Exception:  # it died in its __hash__, which fails here as well
            pass
        return True
    return _threads.owns_limbo_lock()


if PY2:
    _pause = pause
else:

    def _pause(lock, seconds):
        lock.acquire(True, seconds)
