"""What happens in a forked child: every Thread but the current one becomes stopped, or was never started.

By repair, never by a gate in front of the fork: concurrent.futures and logging hold a lock across
Thread.start and take the same lock in a before-fork hook, so whoever waits there waits for ever.
Nothing here raises, waits, logs, or takes a lock that another thread may hold.
"""
import threading
import weakref

from safethread_patch import _facts, _threads


def repair_child(suspects):
    """Repair the current process, a forked child, after threading has done its own part.

    ``suspects``: threads to look at besides those whose start is known to have been in flight.
    """
    _threads.enter_process()
    suspects = _threads.take_copied_starts() + list(suspects)
    # the current thread, and what at-fork hooks older than ours have started
    alive = _threads.values_of(threading._active)
    for thread in suspects:
        if thread is not None and not any(other is thread for other in alive):
            _quietly(_threads.repair, thread)
    if _facts.CHILD_STOPS_UNSTARTED:
        _quietly(_threads.unstop_unstarted)
    if _facts.CHILD_KEEPS_NATIVE_ID:
        _quietly(_threads.renew_native_id)


def _quietly(function, *args):
    try:
        function(*args)
    except Exception:  # a subclass's __setattr__, say: the next thread still wants its repair
        pass


# For os.register_at_fork. They cannot be taken back, and are inert while the patch is not installed.

_forking = threading.local()


def before():
    """Note who is in limbo: after the fork it is too late, for threading has cleared it then.

    Those whose start is not known to be in flight matter: it began before install(), or was left by
    Ctrl-C, or is none of ours.
    """
    if _threads.active:
        _forking.in_limbo = [weakref.ref(thread) for thread in _threads.values_of(threading._limbo)]


def after_in_child():
    """Repair the current process, a forked child."""
    if _threads.active:
        repair_child(ref() for ref in getattr(_forking, "in_limbo", ()))


# Before 3.7


def make_after_fork(original, put_join):
    """Return the function that takes the place of ``original``, ``threading._after_fork`` before 3.7.

    The interpreter looks it up by name in every child, whatever forked. ``put_join()`` puts make_join()'s
    function in the place of Thread.join.
    """

    def _after_fork():
        if not _threads.active:
            return original()
        suspects = _threads.values_of(threading._limbo)
        if _facts.CHILD_FORGETS_ENDED:
            _quietly(_threads.complete_dummies)
        try:
            return original()
        finally:
            repair_child(suspects)
            if _facts.CHILD_FORGETS_ENDED:
                _quietly(put_join)

    return _after_fork


def make_join(original):
    """Return the function that takes the place of ``original``, Thread.join, in a forked child only.

    To see that a thread has ended, the stock join() takes a lock of the thread, which another join() may
    have held at the fork.
    """

    def join(self, timeout=None):
        if _threads.active and _threads.is_stopped(self) and _threads.is_started(self):
            return None
        return original(self, timeout)

    return join
