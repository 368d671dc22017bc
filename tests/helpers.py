"""What the bodies of tests share that run in a child interpreter, and the soak, which runs without pytest."""
import contextlib
import sys
import threading

from safethread_patch._defects._hold import HeldRegistration, StandIn, in_forked_child
from safethread_patch._state import state
from safethread_patch._threads import low_level


def check(condition, what):
    """Raise AssertionError unless ``condition`` is true; also under -O, which leaves assert statements out."""
    if not condition:
        raise AssertionError(what)


def clean():
    """Check that no start has left anything behind."""
    for table in (state.claims, state.wakeup_locks, state.claimed_threads, threading._limbo):
        check(not table, table)


def switch_often(seconds=1e-6):
    """Let the interpreter change threads as often as it can."""
    if hasattr(sys, "setswitchinterval"):
        sys.setswitchinterval(seconds)
    else:
        sys.setcheckinterval(1)


def nothing_seen(answer):
    """Check the answer of in_forked_child()."""
    assert answer is None, answer


def error_of(kind, function, *args):
    """Return the error of class ``kind`` that ``function(*args)`` raises. It must raise one."""
    try:
        function(*args)
    except kind as error:
        return error
    raise AssertionError("%r raised no %s" % (function, kind.__name__))


def in_grandchild(look):
    """Return what in_forked_child() returns, called in a forked child. Both hear of the inner one's hang."""
    return in_forked_child(lambda: in_forked_child(look), patience=2)


def held_start(thread):
    """Start ``thread`` while it is held in limbo; return whether start() came back meanwhile."""
    thread.daemon = True
    with HeldRegistration(thread) as held:
        returned = held.release_when_start_waits()
        thread.start()
        in_limbo = thread in threading._limbo
        returned()
    thread.join(10)
    assert not thread.is_alive()
    return in_limbo


class NoThreads(object):
    """An empty set that stays empty."""

    def add(self, thread):
        pass

    def __iter__(self):
        return iter(())


def bring_back_issue_18418():
    """Make real zombies on an interpreter that has healed them: its child knows the threads in _active only."""
    threading._dangling = NoThreads()
    threading._enumerate = lambda: list(threading._active.values())


def error_of_a_second_start():
    """Return the text of the RuntimeError that start() raises for a Thread that has been started."""
    thread = threading.Thread(target=int)
    thread.start()
    return str(error_of(RuntimeError, thread.start))


class OverridesRun(threading.Thread):
    """A Thread with a run() of its own, which does not announce it as the patch's run() does."""

    def __init__(self, target=None):
        threading.Thread.__init__(self)
        self.work = target

    def run(self):
        self.work()


class OverridesStart(threading.Thread):
    def start(self):
        threading.Thread.start(self)


class OverridesBoth(OverridesRun):
    def start(self):
        OverridesRun.start(self)


class HasSlots(OverridesRun):
    __slots__ = ()


def thread_of_a_new_class(target):
    class New(threading.Thread):
        def run(self):
            target()

    return New()


def thread_with_run_of_its_own(target):
    thread = threading.Thread()
    thread.run = target
    return thread


def timer(target):
    return threading.Timer(0, target)


#: The ways to make a thread that calls ``target()``. A new class is made when the patch is installed.
THREADS = {
    "plain": threading.Thread,
    "run overridden before install()": OverridesRun,
    "run overridden after install()": thread_of_a_new_class,
    "start overridden": OverridesStart,
    "both overridden": OverridesBoth,
    "run of the instance": thread_with_run_of_its_own,
    "slots": HasSlots,
    "timer": timer,
}

#: The two ways in which a thread can announce itself: by the patch's run(), or without it.
CLASSES = {"plain": threading.Thread, "run overridden": OverridesRun}


class FullFor(dict):
    """A registry that has no memory for ``thread``."""

    def __init__(self, thread, entries):
        dict.__init__(self, entries)
        self.thread = thread

    def __setitem__(self, key, value):
        if value is self.thread:
            raise MemoryError
        dict.__setitem__(self, key, value)


@contextlib.contextmanager
def dies_in_the_registry(thread):
    """Let ``thread`` die while it holds the registry's lock."""
    threading._active = FullFor(thread, threading._active)
    yield


def dies_before_the_lock(thread):
    """Let ``thread`` die when it is about to take the registry's lock."""
    failed = []

    def before():
        if thread.ident == low_level.get_ident() and not failed:
            failed.append(1)
            raise MemoryError

    return StandIn(before)
