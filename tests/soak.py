"""Soak: python soak.py SECONDS. Starters, forkers, executors, double starts and grandchildren, all at once.

Counts what it did; ends with 0 only if nothing hung, crashed or lied. nox -s soak runs it.
"""
from __future__ import print_function

import os
import sys
import time
import warnings

try:
    from concurrent.futures import ThreadPoolExecutor
except ImportError:  # Python 2
    ThreadPoolExecutor = None

import safethread_patch
from safethread_patch import _threads
from safethread_patch._defects._hold import LOST_IN_FORK, daemon, in_forked_child, lie_about, warm_up, witnessed


class Soak(object):
    def __init__(self):
        self.over = False
        self.counts = {}
        self.lies = []
        # of each worker the latest thread, and how often that was alive in its run(); a list for each, because
        # on a free-threaded build what several threads write to may be locked in the child
        self.latest = []

    def count(self, what):
        # each thread has its own: += is no atomic operation
        key = what, _threads.low_level.get_ident()
        self.counts[key] = self.counts.get(key, 0) + 1

    def total(self):
        total = {}
        for (what, _), number in list(self.counts.items()):
            total[what] = total.get(what, 0) + number
        return total

    def start(self, latest):
        while not self.over:
            thread, alive = witnessed()
            latest[:] = [(thread, alive), witnessed()]
            begun = time.time()
            thread.start()
            if _threads.is_in_limbo(thread):
                # how long tells a start() that looked wrongly from one that has given up, after 10 s
                self.lies.append("start() returned after %d s while the thread was in limbo" % (time.time() - begun))
            thread.join()
            if alive != [True] or thread.is_alive():
                self.lies.append("a thread of the parent ran %r and is alive: %s" % (alive, thread.is_alive()))
            self.count("starts")

    def start_twice(self, latest):
        while not self.over:
            outcomes = []
            thread, alive = witnessed()
            latest[:] = [(thread, alive)]

            def start():
                try:
                    thread.start()
                except RuntimeError:
                    outcomes.append("refused")
                else:
                    outcomes.append("ok")

            starters = [daemon(start) for _ in range(2)]
            for starter in starters:
                starter.start()
            for starter in starters:
                starter.join()
            thread.join()
            if (sorted(outcomes), alive) != (["ok", "refused"], [True]):
                self.lies.append("a double start: %r, run() was called %d times" % (outcomes, len(alive)))
            self.count("double starts")

    def execute(self, latest):
        while not self.over:
            with ThreadPoolExecutor(4) as executor:
                for future in [executor.submit(int) for _ in range(8)]:
                    future.result()
            self.count("executors")

    def look(self):
        for thread, alive in [found for latest in self.latest for found in latest]:
            lie = lie_about(thread, alive)
            if lie:
                return lie
        return None

    def fork(self):
        # the outer child has the patience to hear of the inner one's hang
        for what, look, patience in (
            ("forks", self.look, 1),
            ("grandchildren", lambda: in_forked_child(self.look), 2),
        ):
            lie = in_forked_child(look, patience)
            self.count(what)
            if lie == LOST_IN_FORK:
                self.count("children lost in os.fork()")
            elif lie:
                self.lies.append("%s: %s" % (what, lie))

    def work(self, function, latest):
        try:
            function(latest)
        except BaseException as error:
            self.lies.append("%s: %s: %s" % (function.__name__, type(error).__name__, error))

    def run(self, seconds):
        workers = [self.start] * 2 + [self.start_twice] + [self.execute] * (ThreadPoolExecutor is not None)
        self.latest = [[] for _ in workers]
        threads = [
            daemon(lambda function=function, latest=latest: self.work(function, latest))
            for function, latest in zip(workers, self.latest)
        ]
        for thread in threads:
            thread.start()
        end = time.time() + seconds
        while time.time() < end:
            self.fork()
        self.over = True
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                self.lies.append("a thread of the parent hangs")
        total = self.total()
        for what in ["starts", "double starts", "forks", "grandchildren"] + ["executors"] * (ThreadPoolExecutor is not None):
            if not total.get(what):
                self.lies.append("no %s at all" % what)
        if 100 * total.get("children lost in os.fork()", 0) > total["forks"]:
            self.lies.append("so many are not stock's")


def main(seconds):
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12+: fork in a process with threads
    getattr(sys, "setswitchinterval", lambda interval: sys.setcheckinterval(1))(1e-5)
    safethread_patch.install()
    warm_up()
    soak = Soak()
    soak.run(seconds)
    print("%s: %s" % (sys.version.split()[0], ", ".join("%d %s" % (number, what) for what, number in sorted(soak.total().items()))))
    for lie in sorted(set(soak.lies)):
        print("%d times: %s" % (soak.lies.count(lie), lie))
    sys.stdout.flush()
    os._exit(1 if soak.lies else 0)  # a thread that hangs must not keep us


if __name__ == "__main__":
    main(float(sys.argv[1]))
