"""What Thread.start and Thread.run become: start() returns once the new thread is registered.

Registered means: not in ``threading._limbo``. The registry is the truth; what run() announces only
wakes the starter early.
"""
import threading
import time
from functools import partial

from safethread_patch import _facts, _threads
from safethread_patch._facts import FREE_THREADED, PY2
from safethread_patch._threads import active, low_level, starts, stopped_by_fork

#: Pauses between two looks at the registry, in seconds: counted, because clocks may be frozen; 10 s in
#: all. What has not registered by then is held up by someone who may wait for this very start(): to
#: return, as the stock start() does, is all that helps.
PAUSES = [0.0001 * 2**exponent for exponent in range(10)] + [0.1] * 99


# What takes the place of the functions of threading. _ledger.put() puts in copies, in which these are what
# they took the place of: as it is, and bound when it is called with a thread.
original = call = None

#: What repairs a forked child: _install puts it in.
repair_child = None


def start(self):
    if not active:
        return call(self)
    if FREE_THREADED and starts.limbo_lock is not threading._active_limbo_lock:
        # An at-fork hook older than ours starts a thread. The tables may be locked, by a thread that is gone.
        repair_child()
    key, lent = id(self), None
    claim = (self, low_level.get_ident(), threading._active_limbo_lock)
    try:
        if starts.in_flight.setdefault(key, claim) is not claim:
            _check_claim(key, claim)
        if stopped_by_fork:
            _unstop(self)
        if FREE_THREADED:
            starts.threads[key] = self
        if PY2:
            lent = []
            _wait_for_announcement(self, lent)
        result = call(self)
        # Mostly empty, and cheaper to ask than whether self is in it. Free-threaded, del has made a dict empty a
        # moment before the last entry is gone.
        if FREE_THREADED or threading._limbo:
            _wait_until_registered(self)
        return result
    finally:
        try:
            if lent:  # before the claim goes: what is lent belongs to a start in flight, also in a forked child
                names, lock = lent
                names.pop("wait", None)
                names.pop("set", None)
                if starts.waiting.get(key) is lock:  # in a forked child it may be the next starter's
                    starts.waiting.pop(key, None)
        finally:
            # No call: since 3.10 no signal comes between the look and the del, and leaves the claim behind. And the
            # table of now: this may be a free-threaded child, where that of before may be locked.
            try:
                if starts.in_flight[key] is claim:
                    del starts.in_flight[key]
                    if FREE_THREADED:
                        starts.threads.pop(key, None)
            except KeyError:  # it was another start's, which has ended meanwhile
                pass


def run(self):
    if starts.waiting:
        _announce(self)
    return call(self)


# Python 2. A new thread calls it right after it has registered, so also the starter of a subclass with a
# run() of its own is woken. Unless under -O.
def _note(self, format, *args):
    if starts.waiting and self._Thread__ident is not None:  # start() calls it too, before there is an ident
        _announce(self)
    if self._Verbose__verbose:  # as in the original, which is not called for nothing
        original(self, format, *args)


# Python 2. Every thread calls it at its end, even if it died before it registered.
def __stop(self):
    try:
        return call(self)
    finally:
        if starts.waiting:
            _announce(self)


def _check_claim(key, claim):
    """Return if this start may go on although there is another; raise what a second start gets."""
    thread, ident, _ = claim
    while True:
        held = starts.in_flight.setdefault(key, claim)
        if held is claim:
            return  # the other has just ended, and the stock start() sees how
        if _threads.is_to_be_repaired() and _threads.is_copied_by_fork(held):
            # the starter stayed in the parent; an at-fork hook older than ours starts the thread anew
            _threads.forget_start(thread)
            _threads.repair(thread)
        elif threading._active.get(ident) is thread:
            # it has initialised itself anew in its run(), before its first starter came back
            starts.in_flight[key] = claim
        elif held[1] == ident and not _threads.is_in_limbo(thread):
            return  # start wrappers nest: ours under another tool's under ours again
        else:
            raise RuntimeError(_facts.STARTED_TWICE)


def _unstop(thread):
    try:
        _threads.unstop(thread)
    except Exception:  # not a Thread, or not initialised: the stock start() says so
        pass


def _announce(thread):
    # The starter takes the lock out of the table, not we: an exception sent to this thread might come in
    # between, and the starter wait for ever.
    lock = starts.waiting.get(id(thread))
    if lock is not None and lock.locked():
        _wake(lock)


def _wake(lock):
    try:
        lock.release()
    except Exception:  # released already
        pass


def wake_all():
    """Wake all starters: once uninstalled, no thread announces itself, and Python 2's have no timeout."""
    for lock in _threads.values_of(starts.waiting):
        _wake(lock)


def _wait_until_registered(thread):
    if not _threads.is_in_limbo(thread):
        return
    # on Python 2 uninstall() may have woken the starter before the stock start() would have returned
    while not (_threads.is_started(thread) or _threads.is_dead(thread)) and _threads.is_in_limbo(thread):
        time.sleep(PAUSES[0])
    lock = threading.Lock()  # looked up when called, like sleep: a greenlet must not block its own hub
    lock.acquire()
    key = id(thread)
    try:
        # a thread that starts itself anew has two starters for a moment: the second one is not woken
        starts.waiting.setdefault(key, lock)
        # each look after the lock is in its place: the thread may have announced itself just before
        for pause in PAUSES:
            if not _threads.is_in_limbo(thread) or _will_not_register(thread):
                return
            _pause(lock, pause)
    finally:
        try:  # no call, as in start()
            if starts.waiting[key] is lock:
                del starts.waiting[key]
        except KeyError:
            pass


def _will_not_register(thread):
    if _threads.is_dead(thread):
        # gh-140746: died of a MemoryError while it registered; threading.enumerate() would list it for ever
        try:
            threading._limbo.pop(thread, None)
        except Exception:  # or of a subclass's __hash__, which fails now as well
            pass
        return True
    return _threads.owns_limbo_lock()


if not PY2:

    def _pause(lock, seconds):
        lock.acquire(True, seconds)

else:  # its locks know no timeout, and a signal does not interrupt them

    def _pause(lock, seconds):
        time.sleep(seconds)

    # The stock start() waits for an event that is set too early: half of all starts would wait once more, and
    # each wait costs two switches between threads. So while start() lasts, wait() of that event waits for the
    # announcement, which comes a moment later.

    _EVENT = type(threading.Event())
    _INNER = threading.Thread._Thread__bootstrap_inner.__code__
    _OUTER = threading.Thread._Thread__bootstrap.__code__

    def _wait_for_announcement(thread, lent):
        try:
            event = thread._Thread__started
            names = vars(event)
            if type(event) is not _EVENT or "wait" in names or not _will_announce(thread):
                return
            lock = low_level.allocate_lock()
            lock.acquire()
            lent.extend([names, lock])
            # its first starter may still wait for a thread that starts itself anew
            if starts.waiting.setdefault(id(thread), lock) is lock:
                names["set"] = partial(_set_and_look, event.set, lock)
                names["wait"] = lock.acquire
            else:
                del lent[:]
        except Exception:  # not a Thread, or not initialised: the stock start() says so
            pass

    def _set_and_look(set_event, lock):
        set_event()
        # Without a timeout, and deaf to Ctrl-C, the starter may wait only for a thread that has nothing left
        # to wait for but the interpreter. And once uninstalled, no thread announces itself any more.
        try:
            if active and not threading._active_limbo_lock.locked():
                return
        except Exception:  # another's lock by now
            pass
        _wake(lock)

    def _will_announce(thread):
        """Tell whether ``thread`` will announce itself once it has registered, and if it ends before that.

        By the code, not the functions: every install() makes new ones. Raises AttributeError if not.
        """
        return (
            type(threading._active_limbo_lock) is _threads.LOCK_TYPE
            and thread._Thread__bootstrap.__code__ is _OUTER
            and thread._Thread__bootstrap_inner.__code__ is _INNER
            and thread._Thread__stop.__code__ is __stop.__code__
            and (__debug__ and thread._note.__code__ is _note.__code__ or _will_run(thread))
        )

    def _will_run(thread):
        # a trace hook comes before run(), and may wait for whatever it likes
        hooks = threading._trace_hook or threading._profile_hook
        return not hooks and thread.run.__code__ is run.__code__ and thread.run.__self__ is thread
