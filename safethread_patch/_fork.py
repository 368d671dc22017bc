"""What happens in a forked child: every Thread but the current one becomes stopped, or never started.

The child is repaired, and no fork waits for a start: concurrent.futures and logging hold a lock across Thread.start(),
and their before-fork hooks take the same lock. Whoever waited there would wait without end.

Threading has an at-fork hook of its own, which mostly leaves nothing to do but the starts in flight. But one odd Thread,
a replaced lock or a signal ends it half-way. So what it does is checked at a glance, and done again if it was not done.
The repair can be repeated: it is safe to interrupt it, and to do it again.

Nothing here raises, waits, logs, or takes a lock that another thread may hold. The cost is memory, not time: a page is
copied when the child first touches an object on it. So nothing is looked at without need.
"""
import os
import threading

from safethread_patch import _threads
from safethread_patch._facts import CHILD_KEEPS_NATIVE_ID, CHILD_STOPS_UNSTARTED, FREE_THREADED, PY2
from safethread_patch._state import call_original, state
from safethread_patch._threads import low_level

if PY2:
    from safethread_patch import _py2

# The at-fork hooks. They cannot be unregistered, and do nothing while the patch is not active.


def before():
    """Note the current thread, the registry's lock, and the Threads that threading's part in the child may forget."""
    if not state.is_active:
        return
    if CHILD_STOPS_UNSTARTED and not state.has_forked:  # here, because an older at-fork hook may start a thread in the child
        state.has_forked = True
    ident = low_level.get_ident()
    note = threading._active.get(ident), threading._active_limbo_lock, _threads.forgotten_in_child()
    state.forks.setdefault(ident, []).append(note)


def after_in_parent():
    """Forget what before() noted."""
    ident = low_level.get_ident()
    notes = state.forks.get(ident)
    if notes:
        notes.pop()
        if not notes:
            state.forks.pop(ident, None)


def after_in_child():
    """Repair this process, a forked child, unless that is done."""
    if state.is_active and not is_repaired():
        try:
            _repair()
        finally:
            if not is_repaired():  # a signal handler has raised
                _repair()


def is_repaired():
    """Tell whether this process was patched or repaired, and no at-fork hook older than the patch's runs."""
    return state.pid == os.getpid() and not state.is_before_hook


def _repair():
    if state.pid != os.getpid():
        repair_process()
    elif threading._active_limbo_lock is not state.limbo_lock:
        # start() has repaired this process, for a thread of an older hook, and threading's part has come after that
        early = list(state.early_threads)
        if not _threads.is_registry_of_child(None):
            _threads.repair_registry(None, (), [thread for thread, _ in early] + claimed_threads())
        _threads.revive(early)
    state.is_before_hook = False
    state.early_threads = []


def repair_before_hook():
    """Repair this process, a forked child, for its first start(), which is earlier than the patch's at-fork hook."""
    # without a note of before() there is no hook to come: C code has forked
    state.is_before_hook = low_level.get_ident() in state.forks
    repair_process()


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
    current, limbo_lock, suspects = None, state.limbo_lock, claimed_threads()
    for noted, lock, forgotten in state.forks.get(low_level.get_ident(), ()):
        current = noted or current
        limbo_lock = lock
        suspects += forgotten
    if not _threads.is_registry_of_child(limbo_lock):
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
    if state.pid != os.getpid():
        if state.claims or state.wakeup_locks or FREE_THREADED:
            if PY2:
                _py2.take_waits_back(claimed_threads())
            state.claims, state.wakeup_locks, state.claimed_threads = {}, {}, {}
        if state.forks:
            state.forks = {}
    state.limbo_lock = threading._active_limbo_lock
    state.pid = os.getpid()


def claimed_threads():
    """Return the Threads with a start in flight."""
    if FREE_THREADED:
        return _threads.values_of(state.claimed_threads)
    return [thread for thread, _ in _threads.values_of(state.claims)]
