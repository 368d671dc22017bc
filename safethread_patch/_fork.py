"""What happens in a forked child: every Thread but the current one becomes stopped, or never started.

The child is repaired, and no fork waits for a start: concurrent.futures and logging hold a lock across Thread.start(),
and their before-fork hooks take the same lock. Whoever waited there would wait without end.

Threading has an at-fork hook of its own, which mostly leaves nothing to do but the starts in flight. But one odd Thread,
a replaced lock or a signal ends it half-way. So what it does is checked at a glance, and done again if it was not done.
The repair can be repeated: it is safe to interrupt it, and to do it again.

Nothing here raises, waits, logs, or takes a lock that another thread may hold. The cost is memory, not time: a page is
copied when the child first touches an object on it. So nothing is looked at without need.
"""
import threading
from os import getpid

from safethread_patch import _threads
from safethread_patch._facts import CHILD_KEEPS_NATIVE_ID, CHILD_STOPS_UNSTARTED, FREE_THREADED, PY2
from safethread_patch._state import call_original, state
from safethread_patch._threads import HAS_MAIN_THREAD, low_level

if PY2:
    from safethread_patch import _py2

#: threading's own name for it: a child has touched that already.
GET_IDENT = "_get_ident" if PY2 else "get_ident"

# The at-fork hooks. They cannot be unregistered, and do nothing while the patch is not active.


class Fork(object):
    """What before() notes.

    ``current``: the Thread of the thread that forks, or None. ``forgotten``: the Threads that threading's part in the child
    may forget. ``outer``: the note of the fork in whose hooks this one takes place, or None.
    """

    def __init__(self, current, forgotten, outer):
        self.current = current
        self.forgotten = forgotten
        self.outer = outer


def before():
    """Note that this thread forks, and what threading's part in the child may forget."""
    if not state.is_active:
        return
    if CHILD_STOPS_UNSTARTED and not state.has_forked:  # here, because an older at-fork hook may start a thread in the child
        state.has_forked = True
    ident, active = getattr(threading, GET_IDENT)(), threading._active
    current = active.get(ident)
    is_alone = HAS_MAIN_THREAD and len(active) == 1 and current is threading._main_thread and not threading._limbo
    if is_alone and state.lone_forker is None and not state.forks:
        state.lone_forker = ident  # there is nothing to forget
        return
    forgotten, outer = _threads.forgotten_in_child(), state.forks.get(ident)
    state.forks[ident] = Fork(current, forgotten, outer)
    if forgotten or current is None or outer is not None:
        state.has_notes = True


def after_in_parent():
    """Forget what before() noted."""
    note = state.forks.pop(getattr(threading, GET_IDENT)(), None) if state.forks else None
    if note is None:
        state.lone_forker = None
    elif note.outer is not None:
        state.forks[low_level.get_ident()] = note.outer
    elif not state.forks:
        state.has_notes = False


def after_in_child():
    """Repair this process, a forked child, unless that is done."""
    if not state.is_active:
        return
    if state.pid != getpid():
        is_plain = not (state.claims or state.wakeup_locks or state.has_notes or FREE_THREADED)
        if is_plain and _is_registry_right(state.limbo_lock):  # as in nearly all children
            if CHILD_STOPS_UNSTARTED and not state.has_forked:  # before() was not called for this fork
                state.has_forked = True
            if CHILD_KEEPS_NATIVE_ID:
                threading._main_thread._set_native_id()
            if state.forks:
                state.forks = {}
            state.lone_forker, state.limbo_lock, state.pid = None, threading._active_limbo_lock, getpid()
            return
    elif not state.is_before_hook:
        return  # the hook is registered twice
    try:
        _repair()
    finally:
        if state.pid != getpid() or state.is_before_hook:  # a signal handler has raised
            _repair()


def _is_registry_right(limbo_lock):
    """Tell at a glance whether threading's part in the child has gone through.

    ``limbo_lock``: the lock of the registry before the fork.
    """
    active, lock = threading._active, threading._active_limbo_lock
    if len(active) != 1 or threading._limbo or lock is limbo_lock:
        return False
    current = active.get(getattr(threading, GET_IDENT)())
    if current is None or HAS_MAIN_THREAD and current is not threading._main_thread:
        return False
    # up to 3.9 a signal handler may raise between the end of a with statement and its __exit__()
    is_taken = getattr(lock, "_is_owned", None) or getattr(lock, "locked", int)
    return not is_taken()


def _repair():
    if state.pid != getpid():
        repair_process()
    elif threading._active_limbo_lock is not state.limbo_lock:
        # start() has repaired this process, for a thread of an older hook, and threading's part has come after that
        early = list(state.early_threads)
        if not _is_registry_right(None):
            _threads.repair_registry(None, (), [thread for thread, _ in early] + claimed_threads())
        _threads.revive(early)
    state.is_before_hook = False
    state.early_threads = []


def repair_before_hook():
    """Repair this process, a forked child, for its first start(), which is earlier than the patch's at-fork hook."""
    # without a note of before() there is no hook to come: C code has forked
    ident = low_level.get_ident()
    is_before_hook = ident in state.forks or ident == state.lone_forker
    repair_process()
    state.is_before_hook = is_before_hook


def note_early_thread(thread):
    """Keep ``thread`` for the patch's at-fork hook: threading's part in the child may still come, and stops it."""
    state.early_threads.append((thread, _threads.end_mark(thread)))


# Since gh-114423 (3.13, 3.12.3) a dummy's finalizer takes the registry's lock. A child calls it within os.fork(), before any
# hook, for the dummies of threads that do not exist there, and waits without end if another thread held the lock at the
# fork. Nobody else changes this entry: the finalizer runs when the thread ends, and until then no other has its ident.
def __del__(self, _active=threading._active):
    if not state.is_active:
        return call_original(self)
    if _active.get(self._tident) is self._dummy_thread:
        _active.pop(self._tident, None)
    return None


# The repair. Each step can be repeated, and what tells that it is over comes last.


def repair_process():
    """Repair this process, a forked child. If a signal handler interrupts it, calling it again does the rest."""
    if CHILD_STOPS_UNSTARTED and not state.has_forked:  # before() was not called for this fork
        state.has_forked = True
    current, suspects, note = None, claimed_threads(), state.forks.get(low_level.get_ident())
    while note is not None:
        current = current or note.current
        suspects += note.forgotten
        note = note.outer
    if not _is_registry_right(state.limbo_lock) or HAS_MAIN_THREAD and _threads.is_dummy(threading._main_thread):
        _threads.repair_registry(current, suspects, ())
    elif suspects:
        # the current thread, and what at-fork hooks older than the patch's have started
        alive = _threads.values_of(threading._active)
        for thread in suspects:
            if not any(other is thread for other in alive):
                _threads.quietly(_threads.repair, thread)
    if CHILD_KEEPS_NATIVE_ID:
        _threads.renew_native_id()
    enter_process()


def enter_process():
    """Note that this process is patched or repaired, and forget the starts that it copied from its parent."""
    if state.pid != getpid():
        if state.claims or state.wakeup_locks or FREE_THREADED:
            if PY2:
                _py2.take_waits_back(claimed_threads())
            state.claims, state.wakeup_locks, state.claimed_threads = {}, {}, {}
        state.forks, state.has_notes, state.lone_forker = {}, False, None
    state.limbo_lock = threading._active_limbo_lock
    state.pid = getpid()


def claimed_threads():
    """Return the Threads with a start in flight."""
    if FREE_THREADED:
        return _threads.values_of(state.claimed_threads)
    return [thread for thread, _ in _threads.values_of(state.claims)]
