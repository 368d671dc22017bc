"""The private face of threading.Thread, by version; and the table of starts in flight.

Nothing here takes a lock that another thread may hold: all of it also runs in a forked child.
"""
import os
import sys
import threading

from safethread_patch import _facts

try:
    import _thread
except ImportError:  # Python 2
    import thread as _thread


class Starts(object):
    """The tables of starts. A free-threaded child gets new ones: the old ones may be locked, see _facts."""

    def __init__(self):
        #: ``id(thread): (thread, ident of the starter, the limbo lock of its process)``. By id, because a
        #: subclass may be unhashable, and must then fail as on stock. The last item tells a start of this
        #: process from one that a fork copied: threading makes a new lock in every child, in an at-fork
        #: hook that is older than any which uses threading. (A pid would cost each start a system call.)
        self.in_flight = {}
        #: Starters that wait: ``id(thread): the lock whose release wakes the starter``.
        self.waiting = {}
        #: ``id(thread): thread`` of all in flight, for free-threaded builds only: Threads have weak references,
        #: and such values can be read in a child although the table is locked.
        self.threads = {}
        #: ``ident of the forking thread: (pid, [weak references to the threads that were in limbo before the fork])``
        self.in_limbo = {}
        #: The process that was last patched or repaired, so that a child knows that its repair is still to come; and
        #: its limbo lock.
        self.pid = self.limbo_lock = None


starts = Starts()

#: Not empty while installed: what was put in place does its work only then.
active = []

#: Not empty from the first fork on, in parent and child, see _facts.CHILD_STOPS_UNSTARTED: start() looks
#: then whether threading has stopped a Thread that was never started.
stopped_by_fork = []

#: Looked up in here when called, or gevent's greenlets would be one thread.
low_level = _thread

LOCK_TYPE = _thread.LockType


def renew_native_id():
    """Give the calling thread the native_id that it has in this process, if it is a Thread."""
    current = threading._active.get(low_level.get_ident())  # current_thread() could make one up
    if current is not None:
        current._set_native_id()


def enter_process():
    """Note that this process has been patched or repaired."""
    starts.pid, starts.limbo_lock = os.getpid(), threading._active_limbo_lock


def is_to_be_repaired():
    """Tell whether this process is a child in which an at-fork hook older than ours runs."""
    return starts.pid != os.getpid()


def is_copied_by_fork(start):
    """Tell whether a value of ``in_flight`` was made in the process that forked this one; for a child."""
    return start[2] is not threading._active_limbo_lock


def forget_start(thread):
    """Forget a start that was copied by a fork; for a child."""
    starts.in_flight.pop(id(thread), None)
    starts.waiting.pop(id(thread), None)
    if _facts.PY2:
        try:
            _give_back_wait(thread)
        except Exception:  # copied without __init__, say, or with an event of another kind
            pass


def take_copied_starts():
    """Return the threads whose start may have been copied by a fork, and forget the starts; for a child."""
    if _facts.FREE_THREADED:
        copied = values_of(starts.threads)
        starts.in_flight, starts.waiting, starts.threads = {}, {}, {}
        return copied
    # others are by threads that an at-fork hook older than ours has started
    copied = [start[0] for start in values_of(starts.in_flight) if is_copied_by_fork(start)]
    for thread in copied:
        forget_start(thread)
    for key in starts.waiting.copy():  # of a thread that started itself anew, and took over the claim of its first starter
        if key not in starts.in_flight:
            starts.waiting.pop(key, None)
    return copied


def values_of(table):
    """Return the values of a dict that other threads change; in one step, so that none is missed.

    But for a free-threaded build: it would lock the table for that, which a child may find locked then. It
    does without a lock for values that have weak references, as Threads; others may move one meanwhile, but a
    child has no others.
    """
    while True:
        try:
            if _facts.FREE_THREADED:
                return [value for value in table.values()]
            return list(table.values())
        except RuntimeError:  # changed in the middle of it
            pass


def is_in_limbo(thread):
    """Tell whether ``thread`` is being started: it is neither registered nor dead.

    By identity, and by ``in`` only if need be and it is the same: a subclass's __hash__ and __eq__ may fail
    once its run() has begun.
    """
    if _facts.FREE_THREADED:
        if type(thread).__hash__ is object.__hash__:
            return thread in threading._limbo
        values = list(threading._limbo.values())
    else:
        values = values_of(threading._limbo)
    for other in values:
        if other is thread:
            return True
    return False


def owns_limbo_lock():
    """Tell whether the caller holds the lock that a new thread needs to register.

    It can since CPython 3.10 made the lock reentrant (issue 44422): a finalizer that runs within
    threading.enumerate() may start threads.
    """
    owned = getattr(threading._active_limbo_lock, "_is_owned", None)
    return owned is not None and owned()


# By version [versions] -----------------------------------------------------------------------------------------
#
#   is_started(thread)      the new thread has said that it runs
#   is_dead(thread)         the new thread has ended, even if it died before it registered; surely so, for a
#                           subclass may use one of these names for itself, or start itself anew
#   make_stopped(thread)    from now on not alive, join() returns, start() raises
#   make_unstarted(thread)  from now on not alive, join() raises, start() works
#   unstop(thread)          start() works if it was never started, but a fork has stopped it
#
# The second and third last are for a forked child, where the thread itself is gone. They give it new locks:
# the old ones may be held by a thread that is gone as well.


def _new_event(is_set):
    event = threading.Event()  # looked up when called: gevent has its own
    if is_set:
        event.set()
    return event


if _facts.VERSION < (3, 4):
    _PREFIX = "_Thread__" if _facts.PY2 else "_"
    _STARTED, _STOPPED, _BLOCK, _IDENT = [_PREFIX + name for name in ("started", "stopped", "block", "ident")]

    def is_started(thread):
        return getattr(thread, _STARTED).is_set()

    def is_stopped(thread):
        return getattr(thread, _STOPPED, False) is True

    def is_dead(thread):
        # no ident: initialised anew in its run(), and stopped by the end of that
        ident = thread.ident
        return is_stopped(thread) and ident is not None and ident not in sys._current_frames()

    def _give_back_wait(thread):
        # see _start
        names = vars(getattr(thread, _STARTED))
        names.pop("wait", None)
        names.pop("set", None)

    def _make(thread, started, stopped):
        setattr(thread, _STARTED, _new_event(started))
        setattr(thread, _STOPPED, stopped)
        setattr(thread, _BLOCK, threading.Condition(threading.Lock()))

    def complete_dummies():
        """Give each _DummyThread the lock that it deleted; to be called in a child, before threading's part.

        Without it the first one ends that part with an AttributeError (issue 14308).
        """
        for thread in values_of(threading._active):
            if not hasattr(thread, _BLOCK):
                setattr(thread, _BLOCK, threading.Condition(threading.Lock()))

    def make_stopped(thread):
        _make(thread, started=True, stopped=True)

    def make_unstarted(thread):
        _make(thread, started=False, stopped=False)
        setattr(thread, _IDENT, None)

    def unstop(thread):
        if is_stopped(thread) and not is_started(thread):
            setattr(thread, _STOPPED, False)

else:

    def is_started(thread):
        return thread._started.is_set()

    def _forget_ids(thread):
        thread._ident = None
        if hasattr(thread, "_native_id"):
            thread._native_id = None

    if _facts.VERSION < (3, 13):

        def is_dead(thread):
            # the interpreter releases this lock when the thread's state is deleted (issue 18808)
            lock = thread._tstate_lock
            stopped = thread._is_stopped is True if lock is None else not lock.locked()
            return stopped and thread.ident not in sys._current_frames()

        def make_stopped(thread):
            thread._started = _new_event(True)
            thread._tstate_lock = None
            thread._is_stopped = True

        def make_unstarted(thread):
            thread._started = _new_event(False)
            thread._tstate_lock = None
            thread._is_stopped = False
            _forget_ids(thread)

        def unstop(thread):
            if getattr(thread, "_is_stopped", False) and not is_started(thread):
                thread._is_stopped = False

    else:
        _HANDLE = "_handle" if _facts.VERSION < (3, 14) else "_os_thread_handle"

        def is_dead(thread):
            return getattr(thread, _HANDLE).is_done()

        def make_stopped(thread):
            pass  # the interpreter has marked the handles of all threads that are gone as done

        def make_unstarted(thread):
            unstop(thread)
            thread._started = _new_event(False)
            _forget_ids(thread)

        def unstop(thread):
            handle = getattr(thread, _HANDLE)
            if handle.is_done() and not is_started(thread):
                setattr(thread, _HANDLE, type(handle)())


def unstop_all():
    """Undo what a fork before install() has done to Threads that were never started."""
    while True:
        try:
            threads = list(threading._dangling)
            break
        except RuntimeError:  # changed in the middle of it
            pass
    for thread in threads:
        try:
            unstop(thread)
        except Exception:  # not initialised, say
            pass


def repair(thread):
    """Make ``thread``, whose start was in flight when another thread forked, stopped or unstarted."""
    if is_started(thread):
        make_stopped(thread)
    else:
        make_unstarted(thread)
