"""Python 2's wait: start() waits once, by a wait() that it lends to the started event (safethread_patch/_py2.py)."""
import os
import signal
import sys
import threading
import time

import pytest
from conftest import PY2, in_child
from helpers import CLASSES, THREADS, check, clean, dies_in_the_registry, error_of, nothing_seen

import safethread_patch
from safethread_patch import _start, _threads
from safethread_patch._defects._hold import (
    HeldBootstrap,
    daemon,
    in_forked_child,
    start_in_background,
    wait_for,
    witnessed,
)
from safethread_patch._state import state
from safethread_patch._threads import low_level, started_event

pytestmark = pytest.mark.skipif(not PY2, reason="the locks have timeouts")


class NextThread(object):
    """Holds the next new thread before it does anything; a later one is not held."""

    def __init__(self):
        self.reached = threading.Event()
        self.go = threading.Event()
        self._start_new_thread = threading._start_new_thread

    def hold(self):
        threading._start_new_thread = self._start_and_hold

    def hold_none(self):
        threading._start_new_thread = self._start_new_thread

    def _start_and_hold(self, function, args):
        self.hold_none()
        return self._start_new_thread(self._bootstrap, (function, args))

    def _bootstrap(self, function, args):
        self.reached.set()
        self.go.wait()
        function(*args)


def lent_names(event):
    """Return the names that start() has lent to a started event."""
    return set(vars(event)) & set(["wait", "set"])


class Sleeps(object):
    """Takes the place of time.sleep(); counts the calls of all threads but the current one while ``is_counting()``."""

    def __init__(self, is_counting=lambda: True):
        self.count = 0
        self._is_counting = is_counting
        self._ident = low_level.get_ident()
        self._sleep = time.sleep

    def __call__(self, seconds):
        if low_level.get_ident() != self._ident and self._is_counting():
            self.count += 1
        self._sleep(seconds)


# What is lent goes back


@pytest.mark.parametrize("kind", sorted(THREADS))
@in_child
def test_event_has_its_own_wait_again(kind):
    safethread_patch.install()
    thread, lent = THREADS[kind](target=int), []
    event, start_new_thread = started_event(thread), threading._start_new_thread
    before = sorted(vars(event))

    def look_and_start(*args):
        lent.extend(set(vars(event)) - set(before))
        return start_new_thread(*args)

    threading._start_new_thread = look_and_start
    thread.start()
    assert sorted(lent) == ["set", "wait"], lent
    assert sorted(vars(event)) == before
    thread.join()
    clean()


@in_child
def test_start_that_fails_gives_the_wait_back():
    safethread_patch.install()
    thread, alive = witnessed()
    event, start_new_thread = started_event(thread), threading._start_new_thread
    before = sorted(vars(event))

    def fail(*args):
        raise MemoryError

    threading._start_new_thread = fail
    error_of(MemoryError, thread.start)
    threading._start_new_thread = start_new_thread
    assert sorted(vars(event)) == before
    threading._limbo.clear()  # 2.6 leaves the thread there
    thread.start()
    thread.join()
    assert alive == [True]
    clean()


def start_deep(thread, depth):
    if depth:
        start_deep(thread, depth - 1)
    else:
        thread.start()


@in_child
def test_start_at_the_recursion_limit_leaves_nothing_in_flight():
    safethread_patch.install()
    outcomes = []
    for depth in range(sys.getrecursionlimit() - 40, sys.getrecursionlimit()):
        thread = threading.Thread(target=int)
        try:
            start_deep(thread, depth)
        except RuntimeError:
            outcomes.append("failed")
        else:
            outcomes.append("started")
        assert not state.claims and not state.wakeup_locks, depth
        assert not lent_names(started_event(thread)), depth
        threading._limbo.clear()
    assert outcomes[0] == "started" and outcomes[-1] == "failed", outcomes


# The starter waits without a timeout, and deaf to Ctrl-C


@in_child
def test_interrupt_while_another_thread_has_taken_the_limbo_lock_before_the_new_one():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    safethread_patch.install()
    thread, next_thread = daemon(), NextThread()
    event, lock, interrupted, in_time = started_event(thread), threading._active_limbo_lock, [], []

    def hold_lock_and_interrupt():
        next_thread.reached.wait()
        with lock:
            next_thread.go.set()
            wait_for(event.is_set, "the thread has said that it runs")
            os.kill(os.getpid(), signal.SIGINT)
            wait_for(lambda: interrupted, "KeyboardInterrupt comes")
            in_time.append(1)

    next_thread.hold()
    low_level.start_new_thread(hold_lock_and_interrupt, ())
    interrupted.append(error_of(KeyboardInterrupt, thread.start))
    thread.join()
    assert in_time
    clean()


@pytest.mark.parametrize("name", ["_Thread__bootstrap", "_Thread__bootstrap_inner"])
@in_child
def test_thread_that_registers_itself_and_announces_nothing(name):
    go = threading.Event()

    class Own(threading.Thread):
        def bootstrap(self):
            self._Thread__ident = low_level.get_ident()
            self._Thread__started.set()
            with threading._active_limbo_lock:
                threading._active[self.ident] = self
                del threading._limbo[self]
            try:
                self.run()
            finally:
                with threading._active_limbo_lock:
                    self._Thread__stop()
                    del threading._active[self.ident]

        def run(self):
            go.wait()

    setattr(Own, name, Own.bootstrap.__func__)
    safethread_patch.install()
    thread = Own()
    outcome = start_in_background(thread)
    wait_for(lambda: outcome == ["ok"], "start() returns")
    go.set()
    thread.join()
    clean()


class StopsSilently(threading.Thread):
    def _Thread__stop(self):
        self._Thread__stopped = True


@pytest.mark.parametrize("flag", ["-u", "-O"])
@in_child
def test_thread_that_dies_while_it_registers_and_announces_nothing(flag):
    safethread_patch.install()
    thread = daemon(cls=StopsSilently)
    with dies_in_the_registry(thread):
        outcome = start_in_background(thread)
        wait_for(lambda: outcome == ["ok"], "start() returns")
    check(thread not in threading._limbo and not thread.is_alive(), "it is over")  # no assert: -O leaves that out
    clean()


# uninstall() wakes the starters


@in_child
def test_uninstall_makes_no_start_return_before_the_thread_is_started():
    safethread_patch.install()
    thread, next_thread = daemon(), NextThread()
    event = started_event(thread)
    next_thread.hold()
    outcome = start_in_background(thread)
    next_thread.reached.wait()
    _start.PAUSES[:] = [0.001]
    time.sleep = sleeps = Sleeps(lambda: not next_thread.go.is_set())
    assert safethread_patch.uninstall()
    wait_for(lambda: sleeps.count > 2, "start() goes on waiting")
    assert not event.is_set() and not outcome

    def look():
        # as on stock: the thread can be started, and start() returns
        outcome_in_child = start_in_background(thread)
        wait_for(lambda: outcome_in_child, "start() returns in the child")

    nothing_seen(in_forked_child(look))
    assert not outcome
    next_thread.go.set()
    wait_for(lambda: outcome == ["ok"], "start() returns")
    thread.join()
    clean()


@in_child
def test_thread_that_was_initialised_anew_in_its_run_is_not_dead_when_it_is_started_again():
    # uninstall() wakes the starter when the end of the first run() has marked the Thread as stopped, and it has no
    # ident yet
    safethread_patch.install()
    ran = []

    class Anew(threading.Thread):
        def run(self):
            ran.append(1)
            if len(ran) == 1:
                threading.Thread.__init__(self)

    thread, next_thread = Anew(), NextThread()
    thread.start()
    wait_for(lambda: _threads._generation.is_stopped(thread) and len(threading._active) == 1, "the first run() is over")
    next_thread.hold()
    outcome = start_in_background(thread)
    next_thread.reached.wait()
    time.sleep = sleeps = Sleeps()
    assert safethread_patch.uninstall()
    wait_for(lambda: sleeps.count > 2 or outcome, "start() goes on waiting")
    assert not outcome and thread in threading._limbo
    next_thread.go.set()
    wait_for(lambda: outcome == ["ok"] and len(ran) == 2, "start() returns, and it has run again")
    wait_for(lambda: len(threading._active) == 1, "all is over")
    clean()


@pytest.mark.parametrize("kind", sorted(CLASSES))
@in_child
def test_uninstall_wakes_a_starter_whose_thread_is_about_to_register(kind):
    reached, go, stay = threading.Event(), threading.Event(), threading.Event()

    class Slow(dict):
        def __setitem__(self, key, value):
            reached.set()
            go.wait()
            dict.__setitem__(self, key, value)

    safethread_patch.install()
    thread = daemon(stay.wait, cls=CLASSES[kind])
    threading._active = Slow(threading._active)
    outcome = start_in_background(thread)
    reached.wait()
    assert safethread_patch.uninstall()
    go.set()
    wait_for(lambda: outcome == ["ok"], "start() returns")
    stay.set()
    thread.join()
    clean()


@pytest.mark.parametrize("kind", sorted(CLASSES))
@in_child
def test_uninstall_just_before_a_wait_is_lent_lets_no_starter_hang(kind):
    # the thread was going to announce itself when start() looked, and no longer does
    safethread_patch.install()
    stay, uninstalled, allocate_lock = threading.Event(), [], low_level.allocate_lock

    def uninstall_and_allocate_lock():
        low_level.allocate_lock = allocate_lock
        uninstalled.append(safethread_patch.uninstall())
        return allocate_lock()

    thread = daemon(stay.wait, cls=CLASSES[kind])
    low_level.allocate_lock = uninstall_and_allocate_lock
    outcome = start_in_background(thread)
    wait_for(lambda: outcome == ["ok"], "start() returns")
    assert uninstalled == [True]
    stay.set()
    thread.join()
    clean()


# One Thread, several starts


@pytest.mark.parametrize("where", ["in another thread", "in a forked child"])
@in_child
def test_start_at_the_moment_when_a_start_that_failed_removes_its_claim(where):
    safethread_patch.install()
    thread, next_thread, other = daemon(), NextThread(), HeldBootstrap()
    outcomes, looked = [], []

    def fail(*args):
        next_thread.hold()
        raise threading.ThreadError("can't start new thread")

    def start_in_child():
        next_thread.hold_none()
        threading._limbo.pop(thread, None)  # 2.6 leaves the thread there
        thread.start()
        thread.join()

    class Claims(dict):
        def __delitem__(self, key):
            dict.__delitem__(self, key)
            if key != id(thread) or looked:
                return
            looked.append(1)  # before the fork: the child has the same table
            if where == "in a forked child":
                outcomes.append([in_forked_child(start_in_child) or "ok"])
            else:
                threading._limbo.pop(thread, None)
                outcomes.append(start_in_background(thread))
                next_thread.reached.wait()

    state.claims = Claims()
    outcome_of_other = start_in_background(other)  # so that the child has something to repair
    other.reached.wait()
    threading._start_new_thread = fail
    error_of(threading.ThreadError, thread.start)
    next_thread.go.set()
    wait_for(lambda: outcomes == [["ok"]], "start() returns")
    other.go.set()
    wait_for(lambda: outcome_of_other == ["ok"], "start() returns")
    clean()


class Failed(Exception):
    pass


@in_child
def test_copied_start_that_ends_in_a_child_beside_the_next_one():
    # another tool's start(), below the patch's, forks; in the child a thread starts the same Thread, and then the
    # copied start fails
    thread, next_thread = daemon(), NextThread()
    original, pids, outcomes = threading.Thread.start, [], []

    def fork_and_fail(self):
        if self is not thread or pids:
            return original(self)
        pids.append(os.fork())
        if not pids[0]:
            outcomes.append(start_in_background(thread))
            next_thread.reached.wait()
        raise Failed

    threading.Thread.start = fork_and_fail
    safethread_patch.install()
    next_thread.hold()
    error_of(Failed, thread.start)
    if pids[0]:
        assert os.waitpid(pids[0], 0)[1] == 0
    else:
        next_thread.go.set()
        wait_for(lambda: outcomes == [["ok"]], "start() returns")
        thread.join()
    clean()


@in_child
def test_install_in_a_child_with_a_copied_start_whose_event_is_of_another_kind():
    safethread_patch.install()
    thread, next_thread = daemon(), NextThread()
    next_thread.hold()
    start_in_background(thread)
    next_thread.reached.wait()
    safethread_patch.uninstall()

    def look():
        thread._Thread__started = object()
        return None if safethread_patch.install() else "not installed"

    nothing_seen(in_forked_child(look))
    next_thread.go.set()


@in_child
def test_install_in_a_child_takes_back_what_a_copied_start_has_lent():
    safethread_patch.install()
    thread, reached, go = daemon(), threading.Event(), threading.Event()
    event, start_new_thread = started_event(thread), threading._start_new_thread

    def hold_starter(*args):
        threading._start_new_thread = start_new_thread
        reached.set()
        go.wait()
        return start_new_thread(*args)

    threading._start_new_thread = hold_starter
    outcome = start_in_background(thread)
    reached.wait()
    assert lent_names(event) == set(["wait", "set"])
    assert safethread_patch.uninstall()

    def look():
        safethread_patch.install()
        names = lent_names(event)
        return "the event has %s" % names if names else None

    nothing_seen(in_forked_child(look))
    go.set()
    wait_for(lambda: outcome == ["ok"], "start() returns")
    thread.join()
    clean()
