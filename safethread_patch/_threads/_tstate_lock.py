"""The Thread of 3.4 to 3.12: the interpreter releases a lock when it deletes the thread's state (issue 18808)."""
import sys

from safethread_patch._threads._parts import forget_ids, new_event

PRIVATE_NAMES = ("_started", "_is_stopped", "_tstate_lock")


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
    thread._started = new_event(is_stopped)
    thread._tstate_lock = None
    thread._is_stopped = is_stopped


def undo_stop(thread):
    if getattr(thread, "_is_stopped", False) and not thread._started.is_set():
        thread._is_stopped = False
