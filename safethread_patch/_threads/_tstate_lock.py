"""The Thread of 3.4 to 3.12: the interpreter releases a lock when it deletes the thread's state (issue 18808)."""
import _thread
import itertools
import sys
import threading

from safethread_patch._threads._parts import become_main_thread, forget_ids, new_event, put

CHILD_FORGETS_EQUALS = True

PRIVATE_NAMES = ("_started", "_is_stopped", "_tstate_lock", "_wait_for_tstate_lock", "_stop")

#: The class of the interpreter's locks; None if gevent or eventlet has put its own in the place.
LOCK = _thread.LockType if _thread.LockType.__module__ == "_thread" else None


def started_event(thread):
    return thread._started


def is_dead(thread):
    lock = thread._tstate_lock
    is_stopped = thread._is_stopped is True if lock is None else not lock.locked()
    return is_stopped and thread.ident not in sys._current_frames()


def make_stopped(thread):
    _make(thread, is_stopped=True)


def make_unstarted(thread):
    _make(thread, is_stopped=False)
    forget_ids(thread)


def _make(thread, is_stopped):
    put(thread, "_started", new_event(is_stopped))
    put(thread, "_tstate_lock", None)
    put(thread, "_is_stopped", is_stopped)


def undo_stop(thread):
    if getattr(thread, "_is_stopped", False) and not thread._started.is_set():
        put(thread, "_is_stopped", False)


def make_current(thread, ident):
    put(thread, "_started", new_event(True))
    put(thread, "_ident", ident)
    put(thread, "_is_stopped", False)
    if thread._tstate_lock is not None:
        thread._tstate_lock.acquire(False)  # threading's part makes a new one, and may not have come to taking it


def make_main(thread):
    become_main_thread(thread)
    thread._set_tstate_lock()  # the exit of the process asserts that the main thread has one


def end_mark(thread):
    return thread._tstate_lock


def make_alive(thread, mark):
    if mark is None or not mark.locked():
        return False
    put(thread, "_tstate_lock", mark)
    put(thread, "_is_stopped", False)
    if not thread._daemonic and hasattr(threading, "_shutdown_locks"):
        threading._shutdown_locks.add(mark)
    return True


def forget_shutdown():
    if hasattr(threading, "_shutdown_locks"):  # 3.8
        threading._shutdown_locks_lock = threading._allocate_lock()
        threading._shutdown_locks = set()


def forget_handles():
    pass  # there are none


def wait_for_release(lock, timeout):
    """Wait until the interpreter has released ``lock``, a LOCK; return False if ``timeout`` seconds are over before.

    -1 is no timeout. Raises what ``lock.acquire()`` raises. The lock is not left taken, whatever a signal handler raises.
    """
    # zip() acquires, and if that succeeds it releases at once. All of it is C, and allocates nothing in between: a signal
    # handler, a finalizer or an exception of another thread's can come before or after both, but not in between.
    acquired = filter(None, itertools.starmap(lock.acquire, [(True, timeout)]))
    is_released = bool(list(zip(acquired, itertools.starmap(lock.release, [()]))))
    if timeout == -1 and not is_released:
        raise StopIteration  # a signal handler has raised one, and for zip() that is an end
    return is_released


if hasattr(threading, "_maintain_shutdown_locks"):  # 3.9

    def forget_lock(lock):
        """Let the exit of the process no longer wait for ``lock``, which has been released."""
        locks, owner = threading._shutdown_locks, threading._shutdown_locks_lock
        if lock in locks:
            # as in wait_for_release(): on 3.9 a signal may come between the end of a with statement and its __exit__()
            steps = (owner.acquire, ()), (locks.discard, (lock,)), (owner.release, ())
            list(zip(*[itertools.starmap(function, [arguments]) for function, arguments in steps]))

elif hasattr(threading, "_shutdown_locks"):  # 3.8, where nobody iterates over them

    def forget_lock(lock):
        threading._shutdown_locks.discard(lock)

else:
    forget_lock = None
