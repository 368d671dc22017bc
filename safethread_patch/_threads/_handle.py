"""The Thread of 3.13 and later: the interpreter keeps a handle of the thread, and marks it as done."""
from _thread import get_ident

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


def has_no_thread(thread):
    handle = getattr(thread, _HANDLE)
    return not handle.ident or handle.is_done()


def make_stopped(thread):
    handle = getattr(thread, _HANDLE)
    if not handle.is_done():  # os.fork() marks the handles of all threads of the parent, C code that forks does not
        handle._set_done()


def make_unstarted(thread):
    _renew_handle(thread)
    put(thread, "_started", new_event(False))
    forget_ids(thread)


def _renew_handle(thread):
    put(thread, _HANDLE, type(getattr(thread, _HANDLE))())


def undo_stop(thread):
    if getattr(thread, _HANDLE).is_done() and not thread._started.is_set():
        _renew_handle(thread)


def make_current(thread):
    put(thread, "_started", new_event(True))
    put(thread, "_ident", get_ident())


make_main = become_main_thread


def end_mark(thread):
    return None  # nobody takes the handle away


def make_alive(thread, mark):
    return not is_dead(thread)


def forget_shutdown():
    pass  # the interpreter does it
