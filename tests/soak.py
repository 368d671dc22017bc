"""Soak: python soak.py SECONDS. Starters, forks, executors, double starts, threads that die at birth, and
grandchildren, all at once.

A third of the forks are disturbed: by an odd Thread, or by an exception at some call of threading's part in the child, or
of the patch's.

Counts what it did. The exit status is 0 only if nothing hung, crashed or lied. nox -s soak runs it.
"""
from __future__ import print_function

import os
import random
import sys
import threading
import time
import warnings
from functools import partial

from helpers import in_grandchild, switch_often

try:
    from concurrent.futures import ThreadPoolExecutor
except ImportError:  # Python 2
    ThreadPoolExecutor = None

import safethread_patch
from safethread_patch import _threads
from safethread_patch._defects._hold import LOST_IN_FORK, DiesAtBirth, daemon, in_forked_child, lie_about, warm_up, witnessed


class Start(object):
    """A target that starts ``thread`` and notes the outcome."""

    def __init__(self, thread, outcomes):
        self.thread = thread
        self.outcomes = outcomes

    def __call__(self):
        try:
            self.thread.start()
        except RuntimeError:
            self.outcomes.append("refused")
        else:
            self.outcomes.append("ok")


class Dying(DiesAtBirth):
    """A thread that dies at birth in this process, and lives in a child."""

    parent = os.getpid()

    def _die(self):
        if os.getpid() == self.parent:
            DiesAtBirth._die(self)


class Odd(threading.Thread):
    """A Thread that disturbs a child if it has an attribute _stop, or if its hash fails."""

    is_failing = False

    def __hash__(self):
        if self.is_failing:
            raise TypeError("unhashable")
        return 1

    def run(self):
        while True:
            time.sleep(600)


class Disturbed(object):
    """Context manager: a child that is forked inside is disturbed. What it writes to stderr is dropped.

    ``how``: "attribute", "hash", or the number of the call at which KeyboardInterrupt is raised.
    """

    def __init__(self, odd, how):
        self.odd = odd
        self.how = how
        self.calls = 0
        self.parent = os.getpid()

    def profile(self, frame, event, argument):
        # before 3.7 no signal handler runs between the call of after_fork() and its try statement
        if event != "call" or os.getpid() == self.parent or frame.f_code.co_name == "after_fork":
            return
        name = frame.f_globals.get("__name__", "")
        if name in ("threading", "_weakrefset") or name.startswith(("safethread_patch._fork", "safethread_patch._threads")):
            self.calls += 1
            if self.calls == self.how:
                sys.setprofile(None)
                raise KeyboardInterrupt

    def __enter__(self):
        self.err = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        if self.how == "attribute":
            self.odd._stop = self.odd._after_fork = self.odd._reset_internal_locks = 1
        elif self.how == "hash":
            self.odd.is_failing = True
        else:
            sys.setprofile(self.profile)

    def __exit__(self, *exc_info):
        sys.setprofile(None)
        self.odd.is_failing = False
        for name in ("_stop", "_after_fork", "_reset_internal_locks"):
            vars(self.odd).pop(name, None)
        os.dup2(self.err, 2)
        os.close(self.err)


class Soak(object):
    # What a forked child reads is in no closure, and no two workers write to it: a free-threaded child may get it locked.

    def __init__(self):
        self.is_over = False
        self.lies = []
        #: ``(what, ident of the thread): number``. Each thread has its own, because += is not atomic.
        self.counts = {}
        #: For each worker a list of its latest threads, each with the list that witnessed() returns.
        self.latest = []
        self.odd = Odd()
        self.odd.daemon = True

    def count(self, what):
        key = what, _threads.low_level.get_ident()
        self.counts[key] = self.counts.get(key, 0) + 1

    def totals(self):
        totals = {}
        for (what, _), number in list(self.counts.items()):
            totals[what] = totals.get(what, 0) + number
        return totals

    # What the workers do

    def start(self, latest):
        thread, alive = witnessed()
        latest[:] = [(thread, alive), witnessed()]
        begin = time.time()
        thread.start()
        if _threads.is_in_limbo(thread):
            # the seconds tell a start() that has not looked again from one that has given up, after 10 s
            self.lies.append("start() returned after %d s while the thread was in limbo" % (time.time() - begin))
        thread.join()
        if alive != [True] or thread.is_alive():
            self.lies.append("a thread of the parent ran %r and is alive: %s" % (alive, thread.is_alive()))
        self.count("starts")

    def start_twice(self, latest):
        thread, alive = witnessed()
        latest[:] = [(thread, alive)]
        outcomes = []
        starters = [daemon(Start(thread, outcomes)) for _ in range(2)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
        thread.join()
        if (sorted(outcomes), alive) != (["ok", "refused"], [True]):
            self.lies.append("a double start: %r, run() was called %d times" % (outcomes, len(alive)))
        self.count("double starts")

    def start_dying(self, latest):
        thread, alive = witnessed(Dying)
        latest[:] = [(thread, alive)]
        for _ in range(2):
            try:
                thread.start()
            except RuntimeError:
                self.count("dying starts")
            else:
                self.lies.append("the start of a thread that died succeeded")
        if alive or thread.is_alive():
            self.lies.append("a thread that died at birth ran %r and is alive: %s" % (alive, thread.is_alive()))

    def execute(self, latest):
        with ThreadPoolExecutor(4) as executor:
            for future in [executor.submit(int) for _ in range(8)]:
                future.result()
        self.count("executors")

    def work(self, task, latest):
        try:
            while not self.is_over:
                task(latest)
        except BaseException as error:
            self.lies.append("%s(): %s: %s" % (task.__name__, type(error).__name__, error))

    # What the main thread does

    def look(self):
        sys.setprofile(None)
        if threading.enumerate() != [threading.current_thread()]:
            return "enumerate() lists %d threads" % len(threading.enumerate())
        if self.odd.is_alive():
            return "the odd thread is alive"
        for thread, alive in [pair for latest in self.latest for pair in latest]:
            lie = lie_about(thread, alive)
            if lie:
                return lie
        return None

    def fork(self, what, call):
        lie = call(self.look)
        self.count(what)
        if lie == LOST_IN_FORK:
            self.count("children lost in os.fork()")
        elif lie:
            self.lies.append("%s: %s" % (what, lie))

    def run(self, seconds):
        tasks = [self.start] * 2 + [self.start_twice, self.start_dying] + [self.execute] * (ThreadPoolExecutor is not None)
        self.latest = [[] for _ in tasks]
        threads = [daemon(partial(self.work, task, latest)) for task, latest in zip(tasks, self.latest)]
        for thread in threads + [self.odd]:
            thread.start()
        end = time.time() + seconds
        while time.time() < end:
            self.fork("forks", in_forked_child)
            self.fork("grandchildren", in_grandchild)
            with Disturbed(self.odd, random.choice(["attribute", "hash"] + list(range(1, 60)))):
                self.fork("disturbed forks", in_forked_child)
        self.is_over = True
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                self.lies.append("a thread of the parent hangs")
        totals = self.totals()
        kinds = ["starts", "double starts", "dying starts", "forks", "disturbed forks", "grandchildren"]
        for what in kinds + ["executors"] * (ThreadPoolExecutor is not None):
            if not totals.get(what):
                self.lies.append("no %s at all" % what)
        if 100 * totals.get("children lost in os.fork()", 0) > totals["forks"]:
            self.lies.append("more children are lost in os.fork() than on stock")


def main(seconds):
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12+: fork in a process with threads
    switch_often(1e-5)
    safethread_patch.install()
    warm_up()
    soak = Soak()
    soak.run(seconds)
    totals = sorted(soak.totals().items())
    print("%s: %s" % (sys.version.split()[0], ", ".join("%d %s" % (number, what) for what, number in totals)))
    for lie in sorted(set(soak.lies)):
        print("%d times: %s" % (soak.lies.count(lie), lie))
    sys.stdout.flush()
    os._exit(1 if soak.lies else 0)  # does not wait for a thread that hangs


if __name__ == "__main__":
    main(float(sys.argv[1]))
