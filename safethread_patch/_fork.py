"""What happens in a forked child: every Thread but the current one becomes stopped, or never started.

The child is repaired, and no fork waits for a start: concurrent.futures and logging hold a lock across Thread.start(),
and their before-fork hooks take the same lock. Whoever waited there would wait without end.

Threading has an at-fork hook of its own, which mostly leaves nothing to do but the starts in flight. But one odd Thread,
a replaced lock or a signal ends it half-way. So what it does is checked at a glance, and done again if it was not done.
The repair can be repeated: it is safe to interrupt it, and to do it again.

Nothing here raises, waits, logs, or takes a lock that another thread may hold. The cost is memory, not time: a page is
copied when the child first touches an object on it. So nothing is looked at without need.
"""
import functools
import sys
import threading
import time
import weakref
from os import getpid

from safethread_patch import _pools, _threads
from safethread_patch._facts import CHILD_KEEPS_NATIVE_ID, CHILD_STOPS_UNSTARTED, FREE_THREADED, PY2
from safethread_patch._state import call_original, state
from safethread_patch._threads import HAS_MAIN_THREAD, low_level

if PY2:
    from safethread_patch import _py2

#: threading's own name for it: a child has touched that already.
GET_IDENT = "_get_ident" if PY2 else "get_ident"

POOLS, MODULES = _pools.MODULE, sys.modules

#: ``noted.fork``, for each thread, while it forks: ``(pid, a reference to its Thread or None, references to the Threads that
#: threading's part in the child may forget, the same of the fork in whose child this one takes place)``.
noted = low_level._local()

# The at-fork hooks. They cannot be unregistered, and do nothing while the patch is not active.


def before():
    """Note that this thread forks, and what threading's part in the child may forget."""
    if not state.is_active:
        return
    if CHILD_STOPS_UNSTARTED and not state.has_forked:  # here, because an older at-fork hook may start a thread in the child
        state.has_forked = True
    if FREE_THREADED:
        _pools.note()
    active = threading._active
    current = active.get(getattr(threading, GET_IDENT)())
    is_repaired = state.pid == getpid()
    is_alone = HAS_MAIN_THREAD and len(active) == 1 and current is threading._main_thread and not threading._limbo
    if is_repaired and is_alone:
        noted.fork = state.pid, None, (), None  # there is nothing to forget
        return
    if not is_repaired:  # a child that is not repaired yet, because an older at-fork hook forks
        state.outer_fork = getattr(noted, "fork", None) or state.outer_fork
    forgotten = [weakref.ref(thread) for thread in _threads.forgotten_in_child()]
    noted.fork = state.pid, current if current is None else weakref.ref(current), forgotten, state.outer_fork
    if forgotten or current is None or state.outer_fork is not None:
        state.has_notes = True


#: Forgets what before() noted. Not a function in Python: in one, the handler of a signal that came during the fork could run,
#: and what it raises would be lost.
after_in_parent = functools.partial(setattr, noted, "fork", None)


def after_in_child():
    """Repair this process, a forked child, unless that is done."""
    if not state.is_active:
        return
    if state.pid != getpid():
        # As _is_registry_right(), _is_noted() and renew_native_id(), but inline: each function is two pages more that the child
        # copies.
        active, lock = threading._active, threading._active_limbo_lock
        current = active.get(getattr(threading, GET_IDENT)())
        is_right = len(active) == 1 and not threading._limbo and lock is not state.limbo_lock and current is not None
        is_noted = (getattr(noted, "fork", None) or (None,))[0] == state.pid
        is_plain = is_noted and not (state.claims or state.wakeup_locks or state.has_notes or FREE_THREADED)
        is_taken = getattr(lock, "_is_owned", None) or getattr(lock, "locked", int)
        if is_right and is_plain and (not HAS_MAIN_THREAD or current is threading._main_thread) and not is_taken():
            # as in nearly all children
            if CHILD_STOPS_UNSTARTED and not state.has_forked:  # before() was not called for this fork
                state.has_forked = True
            if CHILD_KEEPS_NATIVE_ID:
                try:
                    object.__setattr__(current, "_native_id", threading.get_native_id())
                except AttributeError:  # of a subclass's property
                    pass
            if POOLS in MODULES:
                _pools.repair()
            state.limbo_lock, state.pid = lock, getpid()  # last: it is what tells that all is done
            return
    elif not state.is_before_hook and threading._active_limbo_lock is state.limbo_lock:
        return  # done: the hook is registered twice, for a signal handler that raises in the first call
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
        # start() has repaired this process, for a thread of an older hook, and threading's part has come after that. Or C code
        # has run the hooks late.
        early = list(state.early_threads)
        if not _is_registry_right(None):
            kept = [thread for thread, _ in early] + claimed_threads()
            _threads.repair_registry(None, low_level.get_ident(), (), kept)
        _threads.revive(early)
        state.limbo_lock = threading._active_limbo_lock
    state.is_before_hook = False
    state.early_threads = []
    _threads.raise_interrupts()


def repair_before_hook(starting):
    """Repair this process, a forked child, for its first start(), which is earlier than the patch's at-fork hook.

    ``starting``: the Thread that is being started.
    """
    if not _is_noted():
        repair_after_c_fork(starting)
        return
    repair_process(starting=starting)
    state.is_before_hook = True
    _threads.raise_interrupts()


def _is_noted():
    """Tell whether before() was called for the fork that made this process, which is not repaired yet, and in this thread."""
    fork = getattr(noted, "fork", None)
    return fork is not None and fork[0] == state.pid


# C code that forks runs no hook, as uWSGI for its workers. What repairs such a child: its first start(), repair_child(), or the
# hook in _uwsgi.


def repair_child():
    """Repair this process if C code has forked it, and return whether that was needed."""
    if not state.is_active or state.pid == getpid() or _is_noted():
        return False
    return repair_after_c_fork()


#: ``pid: ident of the thread that repairs``, while it does.
_repairing = {}


def repair_after_c_fork(starting=None):
    """Repair this process, a child of C code; return False if another thread of it has done so meanwhile.

    ``starting``: see repair_process().
    """
    pid, ident = getpid(), low_level.get_ident()
    for _ in range(10000):  # no lock: a signal handler that comes in between may start a thread
        if _repairing.setdefault(pid, ident) == ident:
            break
        time.sleep(0.001)
    if state.pid == pid:
        return False
    try:
        repair_process(is_hooked=False, starting=starting)
        state.is_before_hook = False
    finally:
        _repairing.pop(pid, None)
    _threads.raise_interrupts()
    return True


def _has_forked():
    """Tell whether the current thread is the one that forked this process, a child of C code."""
    if not sys.platform.startswith("linux") or not hasattr(threading, "get_native_id"):
        return low_level.get_ident() in threading._active  # perhaps
    return threading.get_native_id() == getpid()


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


def repair_process(is_hooked=True, starting=None):
    """Repair this process, a forked child. If a signal handler interrupts it, calling it again does the rest.

    ``is_hooked``: the interpreter has done its part of a fork, and calls the at-fork hooks. ``starting``: the Thread that is
    being started, if this is not called by an at-fork hook.
    """
    if CHILD_STOPS_UNSTARTED and not state.has_forked:  # before() was not called for this fork
        state.has_forked = True
    current, ident, suspects = None, low_level.get_ident(), claimed_threads()
    fork = getattr(noted, "fork", None) or state.outer_fork
    while fork is not None:
        _, reference, forgotten, fork = fork
        if current is None and reference is not None:
            current = reference()
        suspects += [thread for thread in [weak() for weak in forgotten] if thread is not None]
    native_id = threading.get_native_id() if hasattr(threading, "get_native_id") else None
    if not (is_hooked or _has_forked()):  # C code mostly forks in the main thread
        current, native_id = _threads.main_thread(), getpid()
        ident = getattr(current, "ident", None)
    # C code may call the hooks that come after a fork alone: then nothing was noted that threading forgets
    is_right = _is_noted() and _is_registry_right(state.limbo_lock)
    if not is_right or HAS_MAIN_THREAD and _threads.is_dummy(threading._main_thread):
        _threads.repair_registry(current, ident, suspects, ())
    elif suspects:
        # the current thread, and what at-fork hooks older than the patch's have started
        alive = _threads.values_of(threading._active)
        for thread in suspects:
            if not any(other is thread for other in alive):
                _threads.quietly(_threads.repair, thread)
    if native_id is not None and (CHILD_KEEPS_NATIVE_ID or not is_hooked):
        current = threading._active.get(ident)  # current_thread() could make a dummy
        if current is not None:
            _threads.quietly(functools.partial(_threads.renew_native_id, native_id), current)
    if not is_hooked:
        _threads.forget_handles()
    _threads.quietly(functools.partial(_pools.repair, is_hooked and starting is None), starting)
    enter_process()


def enter_process():
    """Note that this process is patched or repaired, and forget the starts that it copied from its parent."""
    if state.pid != getpid():
        if state.claims or state.wakeup_locks or FREE_THREADED:
            if PY2:
                _py2.take_waits_back(claimed_threads())
            state.claims, state.wakeup_locks, state.claimed_threads = {}, {}, {}
        noted.fork = state.outer_fork = None
        state.has_notes = False
    state.limbo_lock = threading._active_limbo_lock
    state.pid = getpid()


def claimed_threads():
    """Return the Threads with a start in flight."""
    if FREE_THREADED:
        return _threads.values_of(state.claimed_threads)
    return [claim[0] for claim in _threads.values_of(state.claims)]
