"""The private face of threading.Thread, and of the registry.

One module for each generation of threading.Thread, with the same names; this one chooses. [versions]

- ``PRIVATE_NAMES``: the attributes of a Thread that the generation's functions need.
- ``started_event(thread)``: the event that the new thread sets to say that it runs.
- ``is_dead(thread)``: the new thread has ended, even if it died before it registered. Never true by mistake, although a
  subclass may use one of the private names for itself, or start itself anew.
- ``make_stopped(thread)``: not alive from now on, join() returns, start() raises.
- ``make_unstarted(thread)``: not alive from now on, join() raises, start() works.
- ``undo_stop(thread)``: start() works if the thread was never started and a fork has marked it as stopped.
- ``make_current(thread, ident)``: the Thread of the thread that forked, in the child: alive, and with this ident.
- ``make_main(thread)``: a _DummyThread of the current thread in a child is the main thread from now on.
- ``end_mark(thread)``: what the interpreter marks the end of a running thread with, if the Thread may lose it in a child.
- ``make_alive(thread, end_mark)``: alive again, if the thread with that mark has not ended.
- ``forget_shutdown()``: the exit of this process, a child, waits for no thread of the parent's.
- ``forget_handles()``: the same, in a child that C code forked, where the interpreter still knows the parent's threads.
- ``CHILD_FORGETS_EQUALS``: threading's part in the child finds only one of several Threads that are equal.

make_stopped() and make_unstarted() are for a forked child, where the thread itself does not exist. They give it new
locks, because the old ones may be held by a thread that does not exist there either.

Nothing here takes a lock that another thread may hold: all of it is also called in a forked child.
"""
import functools
import os
import threading

from safethread_patch import _facts
from safethread_patch._threads._parts import put

try:
    import _thread as low_level  # its functions are looked up when called, or gevent's greenlets would be one thread
except ImportError:  # Python 2
    import thread as low_level

if _facts.VERSION >= (3, 13):
    from safethread_patch._threads import _handle as _generation
elif _facts.VERSION >= (3, 4):
    from safethread_patch._threads import _tstate_lock as _generation
else:
    from safethread_patch._threads import _flags as _generation

#: 3.4
HAS_MAIN_THREAD = hasattr(threading, "_main_thread")

HAS_HANDLE = _facts.HAS_HANDLE

#: A Thread has them until its run() is over.
TARGET, ARGS = [("_Thread__" if _facts.PY2 else "_") + name for name in ("target", "args")]

PRIVATE_NAMES = _generation.PRIVATE_NAMES
started_event = _generation.started_event
is_dead = _generation.is_dead
make_stopped = _generation.make_stopped
make_unstarted = _generation.make_unstarted
undo_stop = _generation.undo_stop
make_current = _generation.make_current
make_main = _generation.make_main
end_mark = _generation.end_mark
make_alive = _generation.make_alive
forget_shutdown = _generation.forget_shutdown
forget_handles = _generation.forget_handles
CHILD_FORGETS_EQUALS = _generation.CHILD_FORGETS_EQUALS


def missing_from_threading():
    """Return the names that the patch needs and this interpreter's threading lacks."""
    needed = ["_limbo", "_active", "_active_limbo_lock"]
    if _facts.FORK and not _facts.AT_FORK_HOOKS:
        needed.append("_after_fork")
    if _facts.FORK and _facts.CHILD_STOPS_UNSTARTED:
        needed.append("_dangling")
    missing = ["threading." + name for name in needed if not hasattr(threading, name)]
    # The threads that exist are asked, among them the main thread. A new one would shift the numbers in the names of
    # the program's own threads, and current_thread() would leave a _DummyThread where a raw thread calls install().
    threads = list(getattr(threading, "_active", {}).values())
    missing.extend(
        "threading.Thread." + name for name in PRIVATE_NAMES if not any(hasattr(thread, name) for thread in threads)
    )
    return missing


# The registry


def values_of(table):
    """Return the values of a dict that other threads change, in one step, so that none is missed.

    On a free-threaded build one step takes the dict's lock, which a child may have copied while it was held. There the
    values are read one by one. That takes no lock for values that have weak references, as Threads have. Other threads
    may move a value meanwhile, but a child has no other threads.
    """
    while True:
        try:
            if _facts.FREE_THREADED:
                return [value for value in table.values()]
            return list(table.values())
        except RuntimeError as error:
            if "changed" not in str(error):  # of a signal handler
                raise


def is_in_limbo(thread):
    """Tell whether ``thread`` is being started: it has not registered, and no start() has seen that it is dead.

    Compares by identity. ``in`` is used only where it does the same: a subclass's __hash__ and __eq__ may fail once its
    run() has begun.
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

    It can hold it since 3.10 made the lock reentrant (issue 44422): a finalizer that runs within threading.enumerate()
    may start threads.
    """
    owned = getattr(threading._active_limbo_lock, "_is_owned", None)
    return owned is not None and owned()


# One Thread


def is_started(thread):
    """Tell whether the new thread has said that it runs."""
    return started_event(thread).is_set()


if _facts.PY2:

    def waiters(event):
        """Return the Condition of ``event`` and the list of the locks that its notify_all() releases."""
        return event._Event__cond, event._Event__cond._Condition__waiters

else:

    def waiters(event):
        """Return the Condition of ``event`` and the deque of the locks that its notify_all() releases."""
        return event._cond, event._cond._waiters


def is_dummy(thread):
    """Tell whether ``thread`` is what current_thread() returns for a thread that threading has not started."""
    return issubclass(type(thread), threading._DummyThread)  # not isinstance(), which asks thread.__class__


def repair(thread):
    """Make ``thread``, which does not exist in this process, a forked child, stopped or never started."""
    if is_dummy(thread):  # its is_alive() and join() raise, or say that it is alive
        thread.__class__ = threading.Thread
    if is_started(thread):
        make_stopped(thread)
    else:
        make_unstarted(thread)


#: Exceptions of signal handlers that came within quietly().
_interrupts = []


def quietly(function, thread):
    """Call ``function(thread)``, which can be repeated, and ignore an error: the other Threads are to be repaired too.

    Of a subclass's property, say. But an exception that does not come again is a signal handler's, for raise_interrupts().
    """
    try:
        function(thread)
    except Exception as error:
        try:
            function(thread)
        except Exception:
            return
        _interrupts.append(error)


def raise_interrupts():
    """Raise the first exception of a signal handler that came within quietly()."""
    if _interrupts:
        error = _interrupts[0]
        del _interrupts[:]
        raise error


def main_thread():
    """Return the main thread, or None if Python 2 does not know it."""
    if HAS_MAIN_THREAD:
        return threading._main_thread
    return next((thread for thread in values_of(threading._active) if type(thread) is threading._MainThread), None)


def renew_native_id(native_id, thread):
    """Give ``thread`` the native_id that it has in this process."""
    put(thread, "_native_id", native_id)


def renew_native_ids():
    """Give the current thread and the main thread their native_id, if this is a child that was forked before install()."""
    if not hasattr(threading, "get_native_id"):
        return
    current = threading._active.get(low_level.get_ident())
    if current is not None:
        quietly(functools.partial(renew_native_id, threading.get_native_id()), current)
    main = threading._main_thread
    if main is not current and os.path.isdir("/proc/self/task") and not os.path.isdir("/proc/self/task/%s" % main.native_id):
        quietly(functools.partial(renew_native_id, os.getpid()), main)


def undo_stop_of_all():
    """Undo what a fork before install() has done to Threads that were never started."""
    for thread in _all_dangling():
        quietly(undo_stop, thread)


# The registry of a forked child


def forgotten_in_child():
    """Return the Threads that threading's part in a child may forget, or leave in a state that is not true.

    Those in limbo, which are cleared. Dummies, which say that they are alive, or raise, or are the main thread of the child.
    And those that are equal to others, because threading puts all into a set.
    """
    forgotten = values_of(threading._limbo) if threading._limbo else []
    for thread in values_of(threading._active):
        cls = type(thread)
        if cls is threading._DummyThread or (
            CHILD_FORGETS_EQUALS
            and not (cls.__hash__ is threading.Thread.__hash__ and cls.__eq__ is threading.Thread.__eq__)
        ):
            forgotten.append(thread)
    return forgotten


def repair_registry(current, ident, suspects, kept):
    """Do what threading's part has not done in this process, a forked child: the thread that forked is the only one.

    And it is the main thread. ``current``: its Thread before the fork, or None. ``ident``: the ident that it has. ``suspects``:
    Threads that threading may have forgotten. ``kept``: Threads that were started in this process.
    """
    threading._active_limbo_lock = _new_limbo_lock()
    if current is None:
        current = _current_thread(ident)
    done = dict((id(thread), thread) for thread in [current] + list(kept))
    others = list(suspects) + values_of(threading._limbo) + values_of(threading._active)
    if hasattr(threading, "_dangling"):
        others += _all_dangling()
    for thread in others:
        if id(thread) not in done:
            done[id(thread)] = thread
            quietly(repair, thread)
    forget_shutdown()
    if current is not None:
        quietly(functools.partial(_make_current, ident), current)
    if HAS_MAIN_THREAD:
        if is_dummy(current):
            quietly(make_main, current)
        threading._main_thread = current
    # last what _fork looks at to see whether this is done
    threading._limbo.clear()
    if current is not None:
        threading._active[ident] = current
    for other_ident, thread in list(threading._active.items()):
        if other_ident != ident and not any(thread is other for other in kept):
            threading._active.pop(other_ident, None)


def _all_dangling():
    while True:
        try:
            return list(threading._dangling)
        except RuntimeError as error:
            if "changed" not in str(error):
                raise


def _make_current(ident, thread):
    make_current(thread, ident)


def _current_thread(ident):
    current = threading._active.get(ident)
    if current is None and HAS_MAIN_THREAD:
        if threading._main_thread.ident == ident:
            return threading._main_thread
        return threading._DummyThread()  # C code or _thread has started the thread that forked
    return current


def _new_limbo_lock():
    try:
        return threading.RLock() if _facts.LIMBO_LOCK_IS_REENTRANT else threading._allocate_lock()
    except Exception:  # a replacement of another tool's
        return low_level.RLock() if _facts.LIMBO_LOCK_IS_REENTRANT else low_level.allocate_lock()


def revive(early):
    """Make Threads alive again that threading's part has stopped although their threads run in this process.

    ``early``: a list of ``(thread, end mark)``.
    """
    for thread, mark in early:
        quietly(functools.partial(_revive, mark), thread)


def _revive(mark, thread):
    if make_alive(thread, mark):
        threading._active[thread.ident] = thread
        if not make_alive(thread, mark):  # it has just ended
            threading._active.pop(thread.ident, None)
