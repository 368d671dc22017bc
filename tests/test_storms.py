"""Storms: many starts and forks at once, with the interpreter changing threads as often as it can. The races are held
open elsewhere; this comes on top.

No function here has a closure: free-threaded 3.13 locks a cell to read it, and a fork may leave it locked in the child.
For the same reason each thread has an object of its own for what it writes.
"""
from __future__ import print_function

import os
import platform
import sys
import threading
import time

import pytest
from conftest import HERE, PY2, call_in_child, in_child, run
from helpers import bring_back_issue_18418, clean, error_of_a_second_start, switch_often

import safethread_patch
from safethread_patch._defects._hold import LOST_IN_FORK, daemon, in_forked_child, lie_about, wait_for, witnessed
from safethread_patch._defects.zombie_after_fork import zombie
from safethread_patch._facts import FORK, FREE_THREADED
from safethread_patch._threads import is_in_limbo, low_level

needs_fork = pytest.mark.skipif(not FORK, reason="no os.fork")

CPYTHON = platform.python_implementation() == "CPython"


class Worker(object):
    """A thread that repeats its task() until the storm is over, and counts the rounds.

    A Thread, no raw thread: the _DummyThread of a raw thread takes the registry's lock when it is finalised, which can
    hang a child of 3.13+ before any at-fork hook runs, on stock too.
    """

    def __init__(self):
        self.thread = daemon(self.run)
        self.rounds = 0
        self.is_over = False

    def run(self):
        while not self.is_over:
            self.task()
            self.rounds += 1


def storm(workers, look, seconds):
    """Call ``look()`` in one forked child after the other while the workers work; return the counts, a literal.

    ``lies`` counts each text that the children answered, also the hangs, but not those that are ``lost`` on stock too.
    """
    switch_often()
    for worker in workers:
        worker.thread.start()
    counts = {"forks": 0, "lost": 0, "lies": {}}
    deadline = time.time() + seconds
    while time.time() < deadline or counts["forks"] <= 20:
        lie = in_forked_child(look)
        counts["forks"] += 1
        if lie == LOST_IN_FORK:
            counts["lost"] += 1
        elif lie:
            counts["lies"][lie] = counts["lies"].get(lie, 0) + 1
    for worker in workers:
        worker.is_over = True
    for worker in workers:  # at exit free-threaded 3.13 may hang on threads that still run, on stock too
        worker.thread.join()
        name = type(worker).__name__
        counts[name] = counts.get(name, 0) + worker.rounds
    return counts


def check_counts(counts):
    assert not counts["lies"] and 10 * counts["lost"] <= counts["forks"] and counts["forks"] > 20, counts


# Starts alone


class DoubleStart(object):
    """Two threads that start one Thread at the same time."""

    def __init__(self):
        self.thread = daemon(self.run)
        self.runs = []
        self.ready = []
        self.is_open = False
        self.outcomes = []

    def run(self):
        self.runs.append(1)

    def start(self):
        self.ready.append(1)
        while not self.is_open:
            pass
        try:
            self.thread.start()
        except RuntimeError as error:
            self.outcomes.append(str(error))
        else:
            self.outcomes.append("ok")

    def race(self):
        for _ in range(2):
            low_level.start_new_thread(self.start, ())
        wait_for(lambda: len(self.ready) == 2, "both are ready")
        self.is_open = True
        wait_for(lambda: len(self.outcomes) == 2, "both have returned")
        self.thread.join()


@in_child(deadline=120)
def test_700_double_starts_have_one_winner_each():
    switch_often()
    expected = ["ok", error_of_a_second_start()]
    safethread_patch.install()
    for _ in range(700):
        double = DoubleStart()
        double.race()
        assert double.runs == [1], double.runs
        assert sorted(double.outcomes) == expected, double.outcomes
    clean()


class Hashed(threading.Thread):
    def __hash__(self):
        return 1


class LimboChanger(threading.Thread):
    """Puts threads into limbo and takes them away, until ``is_over``."""

    is_over = False

    def run(self):
        threads = [threading.Thread() for _ in range(8)]
        while not LimboChanger.is_over:
            for thread in threads:
                threading._limbo[thread] = thread
            for thread in threads:
                del threading._limbo[thread]


@in_child
def test_look_into_limbo_misses_nobody_who_is_in_it():
    # entries move when other threads change the dict, and a look that is not one step passes by an entry that moves:
    # 1 of 200 on free-threaded 3.13
    switch_often()
    changers = [daemon(cls=LimboChanger) for _ in range(2)]
    for changer in changers:
        changer.start()
    fixed = [threading.Thread(), Hashed()]
    missed, looks = [], 0
    deadline = time.time() + 2
    while time.time() < deadline or looks <= 1000:
        for thread in fixed:
            threading._limbo[thread] = thread
        for _ in range(50):
            looks += 1
            missed.extend(thread for thread in fixed if not is_in_limbo(thread))
        for thread in fixed:
            del threading._limbo[thread]
    LimboChanger.is_over = True
    for changer in changers:
        changer.join()
    assert not missed, len(missed)


# Starts beside forks, stock and patched


class Starter(Worker):
    """Starts one thread after the other."""

    def __init__(self):
        Worker.__init__(self)
        self.latest = None

    def task(self):
        thread, alive = witnessed()
        self.latest = thread, alive
        thread.start()
        thread.join()


class LookAtLatest(object):
    """Returns what ``lie_of(thread, alive)`` says of the starters' latest threads."""

    def __init__(self, starters, lie_of):
        self.starters = starters
        self.lie_of = lie_of

    def __call__(self):
        for starter in self.starters:
            if starter.latest is not None:
                thread, alive = starter.latest
                lie = self.lie_of(thread, alive)
                if lie:
                    return lie
        return None


def zombie_lie(thread, alive):
    return zombie(thread)


def storm_of_starts(is_patched, has_issue_18418, seconds):
    if has_issue_18418:
        bring_back_issue_18418()
    if is_patched:
        safethread_patch.install()
    starters = [Starter() for _ in range(3)]
    return storm(starters, LookAtLatest(starters, zombie_lie if has_issue_18418 else lie_about), seconds)


def compare_stock_and_patched(has_issue_18418, seconds):
    stock = call_in_child(storm_of_starts, False, has_issue_18418, seconds)
    patched = call_in_child(storm_of_starts, True, has_issue_18418, seconds)
    print("stock %s\npatched %s" % (stock, patched))
    check_counts(patched)
    if CPYTHON:
        assert stock["lies"], stock


@needs_fork
@pytest.mark.skipif(not PY2, reason="3.x needs to know all threads, and not only those in flight, to be right")
def test_storm_of_zombies_with_issue_18418_brought_back():
    compare_stock_and_patched(has_issue_18418=True, seconds=10)


@needs_fork
def test_storm_of_starts_in_flight():
    compare_stock_and_patched(has_issue_18418=False, seconds=3)


# Executors and logging beside forks: both hold a lock across start(), which their before hooks take as well


class ExecutorUser(Worker):
    def __init__(self, executor_class):
        Worker.__init__(self)
        self.executor_class = executor_class

    def task(self):
        with self.executor_class(4) as executor:
            for future in [executor.submit(int) for _ in range(8)]:
                future.result()


class Logger(Worker):
    def __init__(self, logger, new_handler):
        Worker.__init__(self)
        self.logger = logger
        self.new_handler = new_handler

    def task(self):
        handler = self.new_handler()
        self.logger.addHandler(handler)
        thread = threading.Thread(target=self.logger.warning, args=("a record",))
        thread.start()
        thread.join()
        self.logger.removeHandler(handler)


class UseThreads(object):
    """Starts a thread and, unless it is None, an executor of this class."""

    def __init__(self, executor_class):
        self.executor_class = executor_class

    def __call__(self):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        if self.executor_class is not None:
            with self.executor_class(1) as executor:
                executor.submit(int).result()


def storm_of_executors_and_logging():
    import functools
    import logging

    try:
        from concurrent.futures import ThreadPoolExecutor
    except ImportError:  # Python 2
        ThreadPoolExecutor = None
    safethread_patch.install()  # after the imports, so that their before hooks run after the patch's
    logger = logging.getLogger("storm")
    logger.propagate = False
    with open(os.devnull, "w") as null:
        new_handler = functools.partial(logging.StreamHandler, null)
        logger.addHandler(new_handler())
        workers = [Logger(logger, new_handler) for _ in range(2)]
        if ThreadPoolExecutor is not None:
            workers += [ExecutorUser(ThreadPoolExecutor) for _ in range(2)]
        # only since 3.9 executors have at-fork hooks
        look = UseThreads(ThreadPoolExecutor if sys.version_info >= (3, 9) else None)
        return storm(workers, look, 10)


@needs_fork
def test_no_hang_of_executors_and_logging_beside_forks():
    counts = call_in_child(storm_of_executors_and_logging, deadline=90)
    check_counts(counts)
    assert counts["Logger"] > 20, counts


# Everything at once, in short; nox -s soak is the long form

# [versions]
SOAKED = FREE_THREADED or sys.version_info[:2] in [(2, 7), (3, 11), (3, 15)]


@needs_fork
@pytest.mark.skipif(not SOAKED or not CPYTHON, reason="the soak's four are enough")
def test_nothing_hangs_crashes_or_lies_for_20_seconds():
    ended = run([sys.executable, os.path.join(HERE, "soak.py"), "20"], deadline=120)
    print(ended.out)
    assert ended.status == 0, ended
