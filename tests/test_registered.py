"""Promise 1: when start() returns, the thread is registered, or has already finished."""
import sys
import threading
import time

import pytest
from conftest import call_in_child, in_child
from helpers import CLASSES, THREADS, clean, dies_before_the_lock, dies_in_the_registry, held_start, switch_often

import safethread_patch
from safethread_patch import _facts, _start
from safethread_patch._defects._hold import HeldRegistration, daemon, start_in_background, wait_for
from safethread_patch._state import state
from safethread_patch._threads import started_event

# The race is held open: the new thread is paused right before it registers.


@pytest.mark.parametrize("kind", sorted(THREADS))
@in_child
def test_start_returns_when_registered(kind):
    make, ran = THREADS[kind], []
    assert held_start(make(target=lambda: ran.append(1))), "not held"  # the stock start() does not wait
    safethread_patch.install()
    assert not held_start(make(target=lambda: ran.append(1))), "start() did not wait"
    assert ran == [1, 1], ran
    clean()


class SaysItIsEmpty(dict):
    def __len__(self):
        return 0


@pytest.mark.skipif(not _facts.FREE_THREADED, reason="the dict changes in one step")
@in_child
def test_limbo_that_says_it_is_empty_while_the_last_entry_goes():
    # del counts down first, and then removes the entry: seen in 1 of 100,000 starts on a busy machine
    threading._limbo = SaysItIsEmpty()
    safethread_patch.install()
    assert not held_start(threading.Thread()), "start() did not wait"
    clean()


# Without a hold: the race is left to the interpreter.


def count_starts_of_executors_that_return_too_early():
    from concurrent.futures import ThreadPoolExecutor

    safethread_patch.install()
    unregistered = []
    start = threading.Thread.start

    def start_and_look(thread):
        start(thread)
        if thread in threading._limbo:
            unregistered.append(thread)

    threading.Thread.start = start_and_look
    switch_often()
    for _ in range(300):
        with ThreadPoolExecutor(8) as executor:
            list(executor.map(int, range(8)))
    return len(unregistered)


def test_start_returns_when_registered_by_an_executor():
    pytest.importorskip("concurrent.futures")
    assert call_in_child(count_starts_of_executors_that_return_too_early) == 0


@in_child
def test_fast_threads_leave_nothing_behind():
    safethread_patch.install()
    for _ in range(2000):
        thread = threading.Thread(target=int)
        thread.start()
        assert thread not in threading._limbo
        thread.join()
    clean()


# The thread is held by its started event, so that the registry keeps the lock of the interpreter.


def hold_when_it_runs(thread):
    """Hold ``thread`` right after it has said that it runs.

    Returns two events: the thread sets the first when it is held, and goes on when the second is set.
    """
    reached, go = threading.Event(), threading.Event()

    class SetAndHold(type(go)):
        def set(self):
            super(SetAndHold, self).set()
            reached.set()
            go.wait()

    thread.daemon = True
    started_event(thread).__class__ = SetAndHold
    return reached, go


@pytest.mark.parametrize("kind", sorted(CLASSES))
@in_child
def test_uninstall_lets_no_starter_hang(kind):
    safethread_patch.install()
    thread = CLASSES[kind](target=int)
    _, go = hold_when_it_runs(thread)
    outcome = start_in_background(thread)
    wait_for(lambda: state.wakeup_locks, "start() waits")
    assert safethread_patch.uninstall()
    go.set()
    wait_for(lambda: outcome == ["ok"], "start() returns")
    thread.join()
    clean()


@pytest.mark.parametrize("kind", sorted(CLASSES))
@in_child
def test_thread_that_registers_before_the_starter_waits(kind):
    safethread_patch.install()
    running, stay, new_lock = [], threading.Event(), threading.Lock

    def work():
        running.append(1)
        stay.wait()

    thread = CLASSES[kind](target=work)
    reached, go = hold_when_it_runs(thread)

    def new_lock_once_registered():
        # the starter has seen the thread in limbo, and makes the lock to wait for
        threading.Lock = new_lock
        reached.wait()
        go.set()
        wait_for(lambda: running, "it has registered, and had nobody to wake")
        return new_lock()

    threading.Lock = new_lock_once_registered
    outcome = start_in_background(thread)
    wait_for(lambda: outcome == ["ok"], "start() returns")
    assert threading.Lock is new_lock
    stay.set()
    thread.join()
    clean()


@pytest.mark.parametrize("kind", sorted(CLASSES))
@in_child
def test_start_does_not_wait_for_the_end_of_run(kind):
    safethread_patch.install()
    stay = threading.Event()
    thread = CLASSES[kind](target=stay.wait)
    _, go = hold_when_it_runs(thread)
    outcome = start_in_background(thread)
    wait_for(lambda: state.wakeup_locks, "start() waits")
    go.set()
    wait_for(lambda: outcome == ["ok"], "start() returns")
    stay.set()
    thread.join()
    clean()


# Threads that die before run()

DEATHS = {"before the lock": dies_before_the_lock, "in the registry": dies_in_the_registry}


@pytest.mark.parametrize("where", sorted(DEATHS))
@pytest.mark.parametrize("kind", sorted(CLASSES))
@in_child
def test_thread_that_dies_while_it_registers(kind, where):
    safethread_patch.install()
    for _ in range(20):
        thread = daemon(int, cls=CLASSES[kind])
        began = time.time()
        with DEATHS[where](thread):
            thread.start()
            assert time.time() - began < 5
            assert thread not in threading._limbo
            wait_for(lambda: not thread.is_alive(), "it is dead")
        assert thread not in threading.enumerate()
        clean()


@pytest.mark.parametrize("set_hook", ["settrace", "setprofile"])
@pytest.mark.parametrize("kind", sorted(CLASSES))
@in_child
def test_thread_that_dies_of_its_trace_hook(kind, set_hook):
    safethread_patch.install()

    def fail(frame, event, arg):
        raise ZeroDivisionError

    getattr(threading, set_hook)(fail)
    for is_held in (False, True):
        began = time.time()
        thread = daemon(int, cls=CLASSES[kind])
        if is_held:
            with HeldRegistration(thread) as held:
                held.release_when_start_waits()
                thread.start()
        else:
            thread.start()
        assert time.time() - began < 5
        thread.join(10)
        assert not thread.is_alive()
    clean()


# Waits are bounded


@in_child
def test_wait_ends_at_last_even_if_the_clocks_are_frozen():
    time.time = time.monotonic = time.perf_counter = lambda: 0.0
    _start.PAUSES[:] = [0.001] * 20
    safethread_patch.install()
    thread = daemon()
    with HeldRegistration(thread):
        thread.start()
        assert thread in threading._limbo
    thread.join()
    clean()


@pytest.mark.skipif(sys.version_info < (3, 10), reason="the lock is not reentrant (issue 44422): stock hangs")
@in_child
def test_start_within_the_limbo_lock_returns_as_on_stock():
    # a finalizer that runs within threading.enumerate() may start a thread
    safethread_patch.install()
    thread = daemon()
    began = time.time()
    with threading._active_limbo_lock:
        thread.start()
    assert time.time() - began < 5
    thread.join()
    clean()
