"""The private face of threading.Thread, and of the registry.

One module for each generation of threading.Thread, with the same names; this one chooses. [versions]

- ``PRIVATE_NAMES``: the attributes of a Thread that the generation's functions need.
- ``started_event(thread)``: the event that the new thread sets to say that it runs.
- ``is_dead(thread)``: the new thread has ended, even if it died before it registered. Never true by mistake, although a
  subclass may use one of the private names for itself, or start itself anew.
- ``make_stopped(thread)``: not alive from now on, join() returns, start() raises.
- ``make_unstarted(thread)``: not alive from now on, join() raises, start() works.
- ``undo_stop(thread)``: start() works if the thread was never started and a fork has marked it as stopped.

make_stopped() and make_unstarted() are for a forked child, where the thread itself does not exist. They give it new
locks, because the old ones may be held by a thread that does not exist there either.

Nothing here takes a lock that another thread may hold: all of it is also called in a forked child.
"""
import threading

from safethread_patch import _facts

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

PRIVATE_NAMES = _generation.PRIVATE_NAMES
started_event = _generation.started_event
is_dead = _generation.is_dead
make_stopped = _generation.make_stopped
make_unstarted = _generation.make_unstarted
undo_stop = _generation.undo_stop


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
        except RuntimeError:  # changed while it was read
            pass


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


def repair(thread):
    """Make ``thread``, whose start was in flight when another thread forked, stopped or never started."""
    if is_started(thread):
        make_stopped(thread)
    else:
        make_unstarted(thread)


def renew_native_id():
    """Give the current thread the native_id that it has in this process, if it is a Thread."""
    current = threading._active.get(low_level.get_ident())  # current_thread() could make a dummy
    if current is not None:
        current._set_native_id()


def undo_stop_of_all():
    """Undo what a fork before install() has done to Threads that were never started."""
    while True:
        try:
            threads = list(threading._dangling)
            break
        except RuntimeError:  # changed while it was read
            pass
    for thread in threads:
        try:
            undo_stop(thread)
        except Exception:  # not initialised, say
            pass
