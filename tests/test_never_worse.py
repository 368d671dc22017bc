"""Promise 4: never worse than stock: no deadlock, no changed error, no attribute on a thread, nothing kept alive."""
from __future__ import print_function

import atexit
import contextlib
import gc
import os
import platform
import re
import signal
import sys
import threading
import weakref

import pytest
from conftest import PY2, in_child, start_in_child
from helpers import CLASSES, THREADS, OverridesRun, clean, error_of, nothing_seen

import safethread_patch
from safethread_patch._defects._hold import (
    HeldBootstrap,
    HeldRegistration,
    daemon,
    in_forked_child,
    lie_about,
    start_in_background,
    wait_for,
    witnessed,
)
from safethread_patch._state import state
from safethread_patch._threads import is_started, low_level, started_event

# Interrupts


def interrupt_when_start_waits():
    wait_for(lambda: state.wakeup_locks, "start() waits")
    os.kill(os.getpid(), signal.SIGINT)


@in_child
def test_interrupt_of_the_wait_propagates_and_the_next_start_works():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    safethread_patch.install()
    thread = daemon()
    low_level.start_new_thread(interrupt_when_start_waits, ())
    with HeldRegistration(thread):
        error_of(KeyboardInterrupt, thread.start)
        assert not state.claims and not state.wakeup_locks
        another = threading.Thread(target=int)
    thread.join()
    another.start()
    another.join()
    clean()


@in_child
def test_interrupt_while_another_thread_holds_the_limbo_lock():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    safethread_patch.install()
    lock, taken, release, interrupted = threading._active_limbo_lock, [], threading.Event(), []

    def hold_lock():
        taken.append(lock.acquire())
        release.wait()
        lock.release()

    class SetBehindLock(type(release)):
        # the lock is taken when the new thread wants to register
        def set(self):
            low_level.start_new_thread(hold_lock, ())
            wait_for(lambda: taken, "the lock is taken")
            super(SetBehindLock, self).set()

    def interrupt():
        interrupt_when_start_waits()
        wait_for(lambda: interrupted, "KeyboardInterrupt comes")

    thread = daemon()
    started_event(thread).__class__ = SetBehindLock
    low_level.start_new_thread(interrupt, ())
    interrupted.append(error_of(KeyboardInterrupt, thread.start))
    release.set()
    thread.join()
    clean()


@in_child
def test_interrupted_start_leaves_no_half_started_thread_to_a_child():
    safethread_patch.install()
    thread, alive = witnessed(HeldBootstrap)

    looks = []

    def is_set():
        looks.append(None)
        if len(looks) == 2:  # the second one is in the wait for the new thread
            thread.reached.wait()
            raise KeyboardInterrupt
        return False

    started_event(thread).is_set = is_set
    error_of(KeyboardInterrupt, thread.start)
    del started_event(thread).is_set
    assert not state.claims
    nothing_seen(in_forked_child(lambda: lie_about(thread, alive)))
    thread.go.set()


@in_child
def test_interrupted_start_leaves_no_ident_to_a_child():
    # the thread has its ident, and has not said yet that it runs
    safethread_patch.install()
    reached, go, thread = threading.Event(), threading.Event(), daemon()

    class HoldAndSet(type(go)):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

        def set(self):
            reached.set()
            go.wait()
            super(HoldAndSet, self).set()

    started_event(thread).__class__ = HoldAndSet
    error_of(KeyboardInterrupt, thread.start)
    reached.wait()
    assert not state.claims and thread.ident is not None
    nothing_seen(in_forked_child(lambda: None if thread.ident is None else "an ident"))
    go.set()
    wait_for(lambda: is_started(thread), "it has said that it runs")
    thread.join()
    clean()


# Trace hooks


@pytest.mark.parametrize("set_hook", ["settrace", "setprofile"])
@pytest.mark.parametrize("flag", ["-u", "-O"])
@in_child
def test_starter_does_not_wait_for_a_trace_hook(set_hook, flag):
    # the hook wants a lock that the starter holds
    safethread_patch.install()
    lock = threading.Lock()

    def take_lock(frame, event, arg):
        if frame.f_code.co_name == "run":
            with lock:
                pass

    getattr(threading, set_hook)(take_lock)
    for _ in range(100):
        thread = daemon(int)
        with lock:
            thread.start()
        thread.join()
    clean()


# Subclasses of all kinds

VALUES = {"an event": threading.Event, "True": lambda: True, "a list": lambda: [1]}


@pytest.mark.parametrize("value", sorted(VALUES))
@pytest.mark.parametrize("name", ["_Thread__stopped", "_stopped", "_is_stopped"])
@in_child
def test_subclass_attribute_that_is_named_like_a_private_one(name, value):
    # on Python 2 a subclass called Thread has self.__stopped where threading has its own
    safethread_patch.install()
    ran = []
    thread = OverridesRun(target=lambda: ran.append(1))
    setattr(thread, name, VALUES[value]())
    with HeldRegistration(thread) as held:
        held.release_when_start_waits()
        thread.start()
    wait_for(lambda: ran and thread not in threading._active.values(), "run() is over")
    clean()


class StartsItselfAnew(threading.Thread):
    def __init__(self):
        threading.Thread.__init__(self)
        self.runs = []

    def run(self):
        self.runs.append(1)
        if len(self.runs) == 1:
            threading.Thread.__init__(self)
            self.start()


@in_child
def test_thread_that_starts_itself_anew_in_run():
    # it often does so before its first start() has returned, which then sees the second one in flight
    safethread_patch.install()
    for _ in range(1000):
        thread = StartsItselfAnew()
        thread.start()
        wait_for(lambda: len(thread.runs) == 2, "it has run twice")
    wait_for(lambda: not threading._limbo and len(threading._active) == 1, "all is over")
    clean()


class UnhashableOnceItRuns(threading.Thread):
    key = 1

    def __hash__(self):
        return hash(self.key)

    def __eq__(self, other):
        return self is other

    def run(self):
        UnhashableOnceItRuns.key = []


@in_child
def test_hash_that_fails_once_run_has_begun():
    safethread_patch.install()
    thread, other = UnhashableOnceItRuns(), HeldBootstrap()
    start_in_background(other)
    other.reached.wait()  # so that limbo is not empty
    thread.start()
    other.go.set()
    wait_for(lambda: not thread.is_alive() and not state.claims, "it is over")


class UnhashableInNewThread(threading.Thread):
    main = None
    has_failed = False

    def __hash__(self):
        if low_level.get_ident() != self.main:
            UnhashableInNewThread.has_failed = True
        if self.has_failed:
            raise ZeroDivisionError("no hash")
        return 1


def start_thread_whose_hash_fails_later():
    UnhashableInNewThread.main = low_level.get_ident()
    safethread_patch.install()
    UnhashableInNewThread().start()  # the new thread dies, on stock as well
    print("start() has returned")
    sys.stdout.flush()
    os._exit(0)  # Python 3 waits at exit for what is in limbo


def test_subclass_whose_hash_fails_later():
    ended = start_in_child(start_thread_whose_hash_fails_later)
    assert (ended.status, ended.out) == (0, "start() has returned\n"), ended


# Bad input: what stock raises, and what stock leaves


@contextlib.contextmanager
def no_new_threads():
    """Let the system refuse every new thread."""

    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    original = getattr(threading, name)
    setattr(threading, name, refuse)
    try:
        yield
    finally:
        setattr(threading, name, original)


class Uninitialised(threading.Thread):
    def __init__(self):
        pass


class Proxy(Uninitialised):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise KeyError(name)


class Stopped(Uninitialised):
    _is_stopped = _stopped = _Thread__stopped = True
    _handle = _os_thread_handle = object()


class Unhashable(threading.Thread):
    def __hash__(self):
        raise ZeroDivisionError("no hash")


def finished_thread():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    return thread


def start_without_system():
    with no_new_threads():
        threading.Thread(target=int).start()


def start_with_huge_stack():
    size = threading.stack_size(2**46)
    try:
        threading.Thread(target=int).start()
    finally:
        threading.stack_size(size)


BAD = {
    "wrong argument": lambda: threading.Thread.start(threading.Thread(), 1),
    "wrong keyword": lambda: threading.Thread.start(threading.Thread(), x=1),
    "no argument": lambda: threading.Thread.start(),
    "no thread": lambda: threading.Thread.start(5),
    "no thread, unhashable": lambda: threading.Thread.start([]),
    "run of no thread": lambda: threading.Thread.run(5),
    "run with an argument": lambda: threading.Thread.run(threading.Thread(), 1),
    "uninitialised": lambda: Uninitialised().start(),
    "uninitialised proxy": lambda: Proxy().start(),
    "uninitialised, and says that it is stopped": lambda: Stopped().start(),
    "uninitialised proxy, joined": lambda: Proxy().join(),
    "uninitialised, says that it is stopped, joined": lambda: Stopped().join(),
    "joined with a text as timeout": lambda: finished_thread().join("a while"),
    "unhashable": lambda: Unhashable().start(),
    "started twice": lambda: finished_thread().start(),
    "joined before it is started": lambda: threading.Thread().join(),
    "refused by the system": start_without_system,
    "refused by the system, for real": start_with_huge_stack,
}


def outcome_of(function):
    """Return the type and text of the error that ``function()`` raises, and how many threads it leaves in limbo."""
    try:
        function()
    except Exception as error:
        return type(error).__name__, str(error), len(threading._limbo)
    return "nothing", "", len(threading._limbo)


@pytest.mark.parametrize("what", sorted(BAD))
@in_child
def test_bad_input_raises_what_stock_raises(what):
    stock = outcome_of(BAD[what])
    threading._limbo.clear()
    safethread_patch.install()
    patched = outcome_of(BAD[what])
    may_succeed = what == "refused by the system, for real" or PY2 and what == "unhashable"
    assert stock[0] != "nothing" or may_succeed, stock
    assert stock == patched, (stock, patched)
    assert not state.claims and not state.wakeup_locks


not_on_26 = pytest.mark.skipif(sys.version_info < (2, 7), reason="2.6 leaves the thread in limbo")


@pytest.mark.parametrize("mode", [pytest.param("stock", marks=not_on_26), "patched"])
@in_child
def test_start_that_the_system_refuses_can_be_repeated(mode):
    if mode == "patched":
        safethread_patch.install()
    ran = []
    thread = threading.Thread(target=ran.append, args=(1,))
    with no_new_threads():
        error_of(RuntimeError, thread.start)
    thread.start()
    thread.join()
    assert ran == [1]
    clean()


# What a program writes is the same, stock and patched


def outputs_of(function):
    """Return how ``function(is_patched)`` ends, stock and patched."""
    return start_in_child(function, False), start_in_child(function, True)


def start_at_exit(is_patched):
    if is_patched:
        safethread_patch.install()

    def late():
        try:
            thread = threading.Thread(target=print, args=("ran",))
            thread.start()
            thread.join()
        except Exception as error:
            print(type(error).__name__, error)
        print(len(threading._limbo), len(state.claims), len(state.wakeup_locks))

    atexit.register(late)


def test_start_at_interpreter_shutdown_ends_as_on_stock():
    stock, patched = outputs_of(start_at_exit)
    assert (stock.status, stock.out, stock.err) == (patched.status, patched.out, patched.err)
    assert stock.status == 0, stock
    assert stock.out.partition("done None\n")[2], stock


def fail():
    raise ZeroDivisionError("in the thread")


def run_threads_that_fail(is_patched):
    if is_patched:
        safethread_patch.install()
    thread = threading.Thread(target=fail, name="failing")
    thread.start()
    thread.join()
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()


def test_exceptions_in_run_are_reported_as_on_stock():
    stock, patched = outputs_of(run_threads_that_fail)
    assert stock.status == patched.status == 0
    assert "ZeroDivisionError: in the thread" in patched.err
    # the patch's run() is one frame more: a line, on Python 3 with its source, and since 3.11 with marks below that
    lines = [line for line in patched.err.splitlines() if "_announce.py" not in line]
    assert [line for line in stock.err.splitlines() if "Error" in line] == [line for line in lines if "Error" in line]
    assert len(patched.err.splitlines()) - len(stock.err.splitlines()) <= 3


def run_verbose_thread(is_patched):
    if is_patched:
        safethread_patch.install()
    thread = threading.Thread(target=int, name="talker", verbose=True)
    thread.start()
    thread.join()


@pytest.mark.skipif(not PY2, reason="3.x has no verbose threads")
def test_verbose_threads_say_what_they_said():
    lines = []
    for ended in outputs_of(run_verbose_thread):
        text = re.sub("[0-9]{6,}", "IDENT", ended.err)
        # join() says that it waits only if it has to
        lines.append(sorted(line for line in text.splitlines() if "waiting until" not in line))
    assert len(lines[0]) >= 4 and lines[0] == lines[1]


# Nothing stays


class NotesItsAttributes(object):
    """A target that notes the attributes of its Thread while that runs."""

    def __init__(self):
        self.names = None

    def __call__(self):
        self.names = set(vars(threading.current_thread()))


def attributes_of_a_thread(kind):
    """Return the names of the attributes of a Thread, in its run() and when it is over."""
    target = NotesItsAttributes()
    thread = CLASSES[kind](target=target)
    thread.start()
    thread.join()
    return target.names, set(vars(thread))


@pytest.mark.parametrize("kind", sorted(CLASSES))
@in_child
def test_no_attribute_on_a_running_thread(kind):
    stock = attributes_of_a_thread(kind)
    safethread_patch.install()
    patched = attributes_of_a_thread(kind)
    assert stock == patched, (stock, patched)


def start_and_free(kind, is_held):
    thread = THREADS[kind](target=int)
    reference = weakref.ref(thread)
    if is_held:
        # start() waits
        with HeldRegistration(thread) as held:
            held.release_when_start_waits()
            thread.start()
        held.thread = None
    else:
        thread.start()
    thread.join()
    try:
        thread.start()
    except RuntimeError:
        pass
    del thread
    if hasattr(sys, "exc_clear"):
        sys.exc_clear()
    wait_for(lambda: reference() is None, "the thread is freed")


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="frees nothing without its garbage collector")
@pytest.mark.parametrize("kind", ["plain", "run overridden before install()", "timer"])
@in_child
def test_threads_are_freed_without_the_garbage_collector(kind):
    gc.disable()
    safethread_patch.install()
    for _ in range(20):
        start_and_free(kind, is_held=False)
    start_and_free(kind, is_held=True)
    clean()
