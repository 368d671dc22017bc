"""Soak: python soak.py SECONDS. Starters, forkers, executors, double starts and grandchildren, all at once.

Counts what it did; ends with 0 only if nothing hung, crashed or lied. nox -s soak runs it.
"""
from __future__ import print_function

import os
import sys
import threading
import time
import warnings

try:
    from concurrent.futures import ThreadPoolExecutor
except ImportError:  # Python 2
    ThreadPoolExecutor = None

import safethread_patch
from safethread_patch import _facts, _threads
from safethread_patch._defects._hold import daemon, in_forked_child, lie_about, warm_up, witnessed


class Soak(object):
    def __init__(self):
        self.over = False
        self.counts = {}
        self.lies = []
        self.latest = {}
        if _facts.FREE_THREADED:  # to tell a child that hangs in stock code, see _facts
            self.reached = os.pipe()
            os.register_at_fork(after_in_child=lambda: os.write(self.reached[1], b"."))

    def count(self, what):
        # each thread has its own: += is no atomic operation
        key = what, _threads.low_level.get_ident()
        self.counts[key] = self.counts.get(key, 0) + 1

    def total(self):
        total = {}
        for (what, _), number in list(self.counts.items()):
            total[what] = total.get(what, 0) + number
        return total

    def start(self, name):
        while not self.over:
            thread, alive = witnessed()
            self.latest[name] = thread, alive
            thread.start()
            if _threads.is_in_limbo(thread):
                self.lies.append("start() returned while the thread was in limbo")
            thread.join()
            if alive != [True] or thread.is_alive():
                self.lies.append("a thread of the parent ran %r and is alive: %s" % (alive, thread.is_alive()))
            self.count("starts")

    def start_twice(self, name):
        while not self.over:
            ran, outcomes = [], []
            thread = daemon(lambda: ran.append(1))
            self.latest[name] = thread, [True]

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
            if (sorted(outcomes), ran) != (["ok", "refused"], [1]):
                self.lies.append("a double start: %r, run() was called %d times" % (outcomes, len(ran)))
            self.count("double starts")

    def execute(self, name):
        while not self.over:
            with ThreadPoolExecutor(4) as executor:
                for future in [executor.submit(int) for _ in range(8)]:
                    future.result()
            self.count("executors")

    def look(self):
        for thread, alive in list(self.latest.values()):
            lie = lie_about(thread, alive if not thread.is_alive() else [True])
            # who starts what was in flight has another witness
            if lie and lie not in ("join() returned before run() was called", "is_alive() said False in run()"):
                return lie
        return None

    def fork(self):
        lie = in_forked_child(self.look)
        self.count("forks")
        if not (_facts.FREE_THREADED and self.hung_in_stock_code(lie)) and lie:
            self.lies.append(lie)
        lie = in_forked_child(lambda: in_forked_child(lambda: lie_about(*witnessed())))
        self.count("grandchildren")
        if not (_facts.FREE_THREADED and self.hung_in_stock_code(lie)) and lie:
            self.lies.append("grandchild: " + lie)

    def hung_in_stock_code(self, lie):
        os.write(self.reached[1], b"!")
        got = b""
        while not got.endswith(b"!"):
            got += os.read(self.reached[0], 4096)
        if lie == "the child hangs" and got == b"!":
            self.count("hangs in stock code")
            return True
        return False

    def run(self, seconds):
        workers = [self.start] * 2 + [self.start_twice] + [self.execute] * (ThreadPoolExecutor is not None)
        threads = [daemon(lambda work=work, name=name: work(name)) for name, work in enumerate(workers)]
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
