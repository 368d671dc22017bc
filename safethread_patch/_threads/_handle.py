"""The Thread of 3.13 and later: the interpreter keeps a handle of the thread, and marks it as done."""
from safethread_patch import _facts
from safethread_patch._threads._parts import forget_ids, new_event

_HANDLE = "_handle" if _facts.VERSION < (3, 14) else "_os_thread_handle"

PRIVATE_NAMES = ("_started", _HANDLE)


def started_event(thread):
    return thread._started


def is_dead(thread):
    return getattr(thread, _HANDLE).is_done()


def make_stopped(thread):
    pass  # the interpreter has marked the handles of all threads of the parent as done


def make_unstarted(thread):
    undo_stop(thread)
    thread._started = new_event(False)
    forget_ids(thread)


def undo_stop(thread):
    handle = getattr(thread, _HANDLE)
    if handle.is_done() and not thread._started.is_set():
        setattr(thread, _HANDLE, type(handle)())
