"""The Thread of 2.6, 2.7 and 3.3: the thread itself sets a flag at its end, and wakes who waits for its Condition."""
import sys
import threading

from safethread_patch import _facts
from safethread_patch._threads._parts import new_event, put

_PREFIX = "_Thread__" if _facts.PY2 else "_"
_STARTED, _STOPPED, _BLOCK, _IDENT = [_PREFIX + name for name in ("started", "stopped", "block", "ident")]

CHILD_FORGETS_EQUALS = False

PRIVATE_NAMES = (_STARTED, _STOPPED, _BLOCK) + (("_Thread__stop",) if _facts.PY2 else ())


def started_event(thread):
    return getattr(thread, _STARTED)


def is_stopped(thread):
    """Tell whether ``thread`` is marked as stopped."""
    return getattr(thread, _STOPPED, False) is True


def is_dead(thread):
    # a thread without an ident called its __init__ in its own run(), and the end of that run() marked it as stopped
    ident = thread.ident
    return is_stopped(thread) and ident is not None and ident not in sys._current_frames()


def make_stopped(thread):
    _make(thread, True)


def make_unstarted(thread):
    _make(thread, False)
    put(thread, _IDENT, None)


def _make(thread, is_stopped):
    put(thread, _STARTED, new_event(is_stopped))
    put(thread, _STOPPED, is_stopped)
    put(thread, _BLOCK, _new_block())


def _new_block():
    return threading.Condition(threading.Lock())


def undo_stop(thread):
    if is_stopped(thread) and not started_event(thread).is_set():
        put(thread, _STOPPED, False)


def complete_dummies():
    """Give each _DummyThread the Condition that it deleted; call it in a child, before threading's part.

    Without it the first dummy ends that part with an AttributeError (issue 14308).
    """
    for thread in list(threading._active.values()):
        if not hasattr(thread, _BLOCK):
            setattr(thread, _BLOCK, _new_block())


def make_current(thread, ident):
    _make(thread, False)
    put(thread, _STARTED, new_event(True))
    put(thread, _IDENT, ident)


def make_main(thread):
    pass  # there is no main_thread()


def end_mark(thread):
    return None  # the thread itself marks its end


def make_alive(thread, mark):
    if thread.ident not in sys._current_frames():
        return False
    put(thread, _STOPPED, False)
    return True


def forget_shutdown():
    pass  # the exit asks the registry


def forget_handles():
    pass  # there are none
