"""What Thread.start and Thread.run become: start() returns once the new thread is registered.

Registered means: not in ``threading._limbo``. The registry is the truth; what run() announces only
wakes the starter early.
"""
import threading
import time
import types

from safethread_patch import _facts, _threads

#: Pauses between two looks at the registry, in seconds: counted, because clocks may be frozen; 10 s in
#: all. What has not registered by then is held up by someone who may wait for this very start(): to
#: return, as the stock start() does, is all that helps.
PAUSES = [0.0001 * 2**exponent for exponent in range(10)] + [0.1] * 99


def make_start(original, active):
    """Return the function that takes the place of ``original``, Thread.start; inert once ``active`` is empty."""
    # closures: faster than globals, and Python 2 sets those to None at exit while daemon threads run
    call = _bound(original)
    in_flight = _threads.in_flight
    limbo = threading._limbo
    low_level = _threads.low_level
    module = threading

    def start(self):
        if not active:
            return call(self)
        key = id(self)
        claim = (self, low_level.get_ident(), module._active_limbo_lock)
        try:
            if in_flight.setdefault(key, claim) is not claim:
                _check_claim(key, claim)
            result = call(self)
            if limbo:  # mostly empty, and cheaper to ask than whether self is in it
                _wait_until_registered(self)
            return result
        finally:
            # no call: since 3.10 no signal comes between the look and the del, and leaves the claim behind
            try:
                if in_flight[key] is claim:
                    del in_flight[key]
            except KeyError:  # it was another start's, which has ended meanwhile
                pass

    return start


def make_run(original, active):
    """Return the function that takes the place of ``original``, Thread.run."""
    call = _bound(original)
    starters = _threads.waiting

    def run(self):
        if starters:
            _announce(self)
        return call(self)

    return run


def make_note(original, active):
    """Return the function that takes the place of ``original``, Python 2's Thread._note.

    A new thread calls it right after it has registered, so also the starter of a subclass with a run()
    of its own is woken. Unless under -O.
    """
    starters = _threads.waiting

    def _note(self, format, *args):
        if starters:
            _announce(self)
        if self._Verbose__verbose:  # as in the original, which is not called for nothing
            original(self, format, *args)

    return _note


def make_stop(original, active):
    """Return the function that takes the place of ``original``, Python 2's Thread.__stop.

    Every thread calls it at its end, even if it died before it registered.
    """
    call = _bound(original)
    starters = _threads.waiting

    def __stop(self):
        try:
            return call(self)
        finally:
            if starters:
                _announce(self)

    return __stop


def _bound(original):
    if type(original) is types.FunctionType:
        return original
    if not hasattr(type(original), "__get__"):
        return lambda thread: original()  # as Python calls what it finds in a class, and cannot bind

    # Called as found in the class's dict, another tool's wrapt wrapper would see no instance.
    def call(thread):
        return original.__get__(thread, type(thread))()

    return call


def _check_claim(key, claim):
    """Return if this start may go on although there is another; raise what a second start gets."""
    thread, ident, _ = claim
    while True:
        held = _threads.in_flight.setdefault(key, claim)
        if held is claim:
            return  # the other has just ended, and the stock start() sees how
        if _threads.is_to_be_repaired() and _threads.is_copied_by_fork(held):
            # the starter stayed in the parent; an at-fork hook older than ours starts the thread anew
            _threads.in_flight.pop(key, None)
            _threads.repair(thread)
        elif threading._active.get(ident) is thread:
            # it has initialised itself anew in its run(), before its first starter came back
            _threads.in_flight[key] = claim
        elif held[1] == ident and not _threads.is_in_limbo(thread):
            return  # start wrappers nest: ours under another tool's under ours again
        else:
            raise RuntimeError(_facts.STARTED_TWICE)


def _announce(thread):
    lock = _threads.waiting.pop(id(thread), None)
    if lock is not None:
        lock.release()


def wake_all():
    """Wake all starters: once uninstalled, no thread announces itself any more."""
    for key in list(_threads.waiting):
        lock = _threads.waiting.pop(key, None)
        if lock is not None:
            lock.release()


def _wait_until_registered(thread):
    if not _threads.is_in_limbo(thread):
        return
    lock = threading.Lock()  # looked up when called, like sleep: a greenlet must not block its own hub
    lock.acquire()
    try:
        # a thread that starts itself anew has two starters for a moment: the second one can only poll
        first = _threads.waiting.setdefault(id(thread), lock) is lock
        # a look after the lock is in its place: the thread may have announced itself just before
        if first and _threads.is_in_limbo(thread) and _will_announce(thread):
            lock.acquire()
        for pause in PAUSES:
            if not _threads.is_in_limbo(thread) or _will_not_register(thread):
                return
            _pause(lock, pause)
    finally:
        if _threads.waiting.get(id(thread)) is lock:
            _threads.waiting.pop(id(thread), None)


def _will_not_register(thread):
    if _threads.is_dead(thread):
        # gh-140746: died of a MemoryError while it registered; threading.enumerate() would list it for ever
        threading._limbo.pop(thread, None)
        return True
    return _threads.owns_limbo_lock()


if _facts.TIMED_LOCKS:

    def _pause(lock, seconds):
        lock.acquire(True, seconds)

    def _will_announce(thread):
        return False  # and no need to know it: the lock's acquire() has a timeout

else:
    # the code, not the functions: every install() makes new ones
    _NOTE_CODE = make_note(lambda thread: None, ()).__code__
    _RUN_CODE = make_run(lambda thread: None, ()).__code__
    _STOP_CODE = make_stop(lambda thread: None, ()).__code__

    def _pause(lock, seconds):
        time.sleep(seconds)

    def _will_announce(thread):
        """Tell whether ``thread`` will announce itself before long, or end.

        Only then may the starter block on a lock, without a timeout and deaf to Ctrl-C: the thread must
        have nothing left to wait for but the interpreter.
        """
        limbo_lock = threading._active_limbo_lock
        return (
            type(limbo_lock) is _threads.LOCK_TYPE
            and not limbo_lock.locked()
            and not _threads.is_stopped(thread)
            and (_will_note(thread) or _will_run(thread))
            and _is_ours(thread, "_Thread__stop", _STOP_CODE)
        )

    def _will_note(thread):
        return __debug__ and _is_ours(thread, "_note", _NOTE_CODE)

    def _will_run(thread):
        # a trace hook comes before run(), and may wait for whatever it likes
        hooks = threading._trace_hook or threading._profile_hook
        return not hooks and _is_ours(thread, "run", _RUN_CODE)

    def _is_ours(thread, name, code):
        return name not in vars(thread) and getattr(getattr(type(thread), name, None), "__code__", None) is code
