"""What happens in a forked child: every Thread but the current one becomes stopped, or never started.

The child is repaired, and no fork waits for a start: concurrent.futures and logging hold a lock across Thread.start(),
and their before-fork hooks take the same lock. Whoever waited there would wait without end.

Nothing here raises, waits, logs, or takes a lock that another thread may hold. The cost is memory, not time: a page is
copied when the child first touches an object on it. So nothing is looked at without need.
"""
import os
import threading
import weakref

from safethread_patch import _threads
from safethread_patch._facts import CHILD_KEEPS_NATIVE_ID, CHILD_STOPS_UNSTARTED, FREE_THREADED
from safethread_patch._state import state

# The at-fork hooks. They cannot be unregistered, and do nothing while the patch is not active.


def before():
    """Note which threads are in limbo: threading clears it in the child.

    Needed for those without a claim: their start began before install(), or was left by Ctrl-C, or did not go through
    ``Thread.start``.
    """
    if not state.is_active:
        return
    if CHILD_STOPS_UNSTARTED:  # not only in the child, where an at-fork hook older than the patch's may start a thread
        state.has_forked = True
    if threading._limbo or state.limbo_notes:
        ident, pid = _threads.low_level.get_ident(), os.getpid()
        noted = [weakref.ref(thread) for thread in _threads.values_of(threading._limbo)]
        if ident in state.limbo_notes and state.limbo_notes[ident][0] != pid:
            # this is a child that is not repaired yet: an at-fork hook older than the patch's forks, and limbo is cleared
            noted += state.limbo_notes[ident][1]
        if noted:
            state.limbo_notes[ident] = pid, noted
        else:
            state.limbo_notes.pop(ident, None)


def after_in_child():
    """Repair this process, a forked child, unless that is done."""
    if not state.is_active:
        return
    if FREE_THREADED and not is_to_be_repaired():
        # start() has repaired it, for a thread of an older hook; or somebody has replaced the registry's lock
        enter_process()
        return
    if CHILD_STOPS_UNSTARTED:  # also if before() was not called for this fork
        state.has_forked = True
    suspects = []
    if state.limbo_notes:
        _, noted = state.limbo_notes.get(_threads.low_level.get_ident(), (None, ()))
        suspects = [reference() for reference in noted]
        state.limbo_notes = {}
    if state.claims or state.wakeup_locks or suspects or FREE_THREADED:
        repair_starts(suspects)
    if CHILD_KEEPS_NATIVE_ID:
        _threads.renew_native_id()


# The repair


def enter_process():
    """Note that this process was patched or repaired."""
    state.pid, state.limbo_lock = os.getpid(), threading._active_limbo_lock


def is_to_be_repaired():
    """Tell whether this process is a child whose repair is still to come, because an older at-fork hook runs."""
    return state.pid != os.getpid()


def repair_starts(suspects):
    """Repair the Threads whose start was in flight at the fork; call it in a child, after threading's own part.

    ``suspects``: Threads to look at besides those with a claim. Returns the Threads whose claims were copied.
    """
    enter_process()
    copied = take_copied_starts()
    # the current thread, and what at-fork hooks older than the patch's have started
    alive = _threads.values_of(threading._active)
    for thread in copied + suspects:
        if thread is not None and not any(other is thread for other in alive):
            quietly(_threads.repair, thread)
    return copied


def take_copied_starts():
    """Forget the starts that the fork copied, and return their Threads; call it in a child."""
    if FREE_THREADED:
        copied = _threads.values_of(state.claimed_threads)
        state.claims, state.wakeup_locks, state.claimed_threads = {}, {}, {}
        return copied
    # the other claims are of threads that an at-fork hook older than the patch's has started
    copied = [claim[0] for claim in _threads.values_of(state.claims) if is_copied(claim)]
    for thread in copied:
        forget_start(thread)
    for key in state.wakeup_locks.copy():  # of a thread that started itself anew, and took over the first start's claim
        if key not in state.claims:
            state.wakeup_locks.pop(key, None)
    return copied


def is_copied(claim):
    """Tell whether ``claim`` was made in the process that forked this one; for a child."""
    _, _, limbo_lock = claim
    return limbo_lock is not threading._active_limbo_lock


def forget_start(thread):
    """Forget the start of ``thread`` that the fork copied; for a child."""
    state.claims.pop(id(thread), None)
    state.wakeup_locks.pop(id(thread), None)


def quietly(function, *args):
    """Call ``function``, and ignore an error: of a subclass's __setattr__, say. The other Threads are to be repaired too."""
    try:
        function(*args)
    except Exception:
        pass
