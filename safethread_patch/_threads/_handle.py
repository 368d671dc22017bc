"""The Thread of 3.13 and later: the interpreter keeps a handle of the thread, and marks it as done."""
import threading
from _thread import _make_thread_handle, get_ident

from safethread_patch import _facts
from safethread_patch._threads._parts import become_main_thread, forget_ids, new_event, put

_HANDLE = "_handle" if _facts.VERSION < (3, 14) else "_os_thread_handle"

#: The interpreter marks the handles of all threads that are gone, so a Thread that is forgotten is stopped all the same.
CHILD_FORGETS_EQUALS = False

PRIVATE_NAMES = ("_started", _HANDLE)


def started_event(thread):
    return thread._started


def is_dead(thread):
    return getattr(thread, _HANDLE).is_done()


#: Handles of threads that do not exist in this process. One that is freed detaches its thread: by then perhaps another one of
#: this process. os.fork() has marked them, C code that forks has not.
_kept = []


def make_stopped(thread):
    # not old._set_done(): it waits for a join() that another thread was in at the fork
    done = _make_thread_handle(0)
    done._set_done()
    _replace_handle(thread, done)


def make_unstarted(thread):
    _replace_handle(thread, type(getattr(thread, _HANDLE))())
    put(thread, "_started", new_event(False))
    forget_ids(thread)


def _replace_handle(thread, handle):
    if getattr(thread, _HANDLE).ident:  # not is_done(), which from 3.14 on may wait for such a join(), too
        _kept.append(getattr(thread, _HANDLE))
    put(thread, _HANDLE, handle)


def _renew_handle(thread):
    put(thread, _HANDLE, type(getattr(thread, _HANDLE))())


def undo_stop(thread):
    if getattr(thread, _HANDLE).is_done() and not thread._started.is_set():
        _renew_handle(thread)


def make_current(thread, ident):
    put(thread, "_started", new_event(True))
    put(thread, "_ident", ident)


make_main = become_main_thread


def end_mark(thread):
    return None  # nobody takes the handle away


def make_alive(thread, mark):
    return not is_dead(thread)


def forget_shutdown():
    pass  # os.fork() has done it


def forget_handles():
    # the list of handles in which the original looks can only be emptied by the threads themselves, and by os.fork()
    threading._thread_shutdown = _shutdown


def _shutdown():
    """Wait until the threads of this process that are no daemons have ended."""
    handles = [True]
    while handles:
        threads = [thread for thread in list(threading._active.values()) if not thread._daemonic]
        handles = [getattr(thread, _HANDLE) for thread in threads if thread._ident != get_ident()]
        handles = [handle for handle in handles if not handle.is_done()]
        for handle in handles:
            handle.join()
