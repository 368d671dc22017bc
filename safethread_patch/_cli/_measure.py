"""What ``bench`` measures in processes of their own. main() writes the result as one line of JSON."""
from __future__ import division

import gc
import json
import os
import signal
import sys
import threading
import time

import safethread_patch
from safethread_patch._cli._process import clock
from safethread_patch._cli._shared import median

#: Starts in one sample.
STARTS = 200

#: Starts before a sample: 3.8 and later optimise a function while it runs, and install() makes new functions.
WARM_UP = 50

#: Calls of join(0) in one sample. 3.8 optimises a function after so many of them.
JOINS = 1024

#: Forks in one sample.
FORKS = 3

#: Threads whose memory is measured together.
THREADS = 200

#: How often their memory is measured.
TURNS = 8

#: Seconds that one round may take before it is taken for a hang.
DEADLINE = 60


class SafeThread(threading.Thread):
    """The thread of the article of 2013: start() waits for an event that run() sets first."""

    def __init__(self, *args, **kwargs):
        threading.Thread.__init__(self, *args, **kwargs)
        self._entered = threading.Event()

    def start(self):
        threading.Thread.start(self)
        self._entered.wait()

    def run(self):
        self._entered.set()
        threading.Thread.run(self)


def main(what, *args):
    functions = {"starts": starts, "joins": joins, "wait": wait, "forks": forks, "bare_fork": bare_fork, "memory": memory}
    result = functions[what](*map(int, args))
    sys.stdout.write("\n%s\n" % json.dumps(result))  # a sitecustomize may have written a line without its end
    sys.stdout.flush()
    os._exit(0)


def ordered(modes, turn):
    """Return ``modes`` in the order of this turn: each one comes first, last, before and after each other equally often."""
    first = turn // 2 % len(modes)
    turned = modes[first:] + modes[:first]
    return turned[::-1] if turn % 2 else turned


def still_here():
    """Tell the parent that this process does not hang; end it later if it does, and the parent does not live to do so."""
    sys.stdout.write("\n")
    sys.stdout.flush()
    if hasattr(signal, "alarm"):
        signal.alarm(2 * DEADLINE)


def pairs(rounds, sample, modes):
    """Return a dict of each of ``modes`` and its samples, one for each round."""
    samples = dict((mode, []) for mode in modes)
    for turn in range(rounds + 1):
        still_here()
        for mode in ordered(modes, turn):
            if mode == "patched":
                safethread_patch.install()
            samples[mode].append(sample(mode))
            if mode == "patched":
                safethread_patch.uninstall()
    # without the first round, in which everything runs for the first time
    return dict((mode, seconds[1:]) for mode, seconds in samples.items())


def starts(rounds):
    """Seconds that start() and join() of one thread take."""

    def sample(mode):
        cls = SafeThread if mode == "safethread" else threading.Thread

        def start_and_join(count):
            begin = clock()
            for _ in range(count):
                thread = cls(target=int)
                thread.start()
                thread.join()
            return clock() - begin

        start_and_join(WARM_UP)
        return start_and_join(STARTS) / STARTS

    return pairs(rounds, sample, ["stock", "patched", "safethread"])


def joins(rounds, is_running):
    """Seconds of join(0) for a Thread that runs, or of the first join() for one that has ended."""
    from safethread_patch import _threads

    over = threading.Event()
    running = threading.Thread(target=over.wait)
    running.daemon = True
    running.start()

    def ended(count):
        threads = [threading.Thread(target=int) for _ in range(count)]
        for thread in threads:
            thread.start()
        while not all(_threads.is_dead(thread) for thread in threads):
            time.sleep(0.001)
        return threads

    def join_running(count):
        begin = clock()
        for _ in range(count):
            running.join(0)
        return clock() - begin

    def join_ended(count):
        threads = ended(count)
        begin = clock()
        for thread in threads:
            thread.join()
        return clock() - begin

    def sample(mode):
        join, count = (join_running, JOINS) if is_running else (join_ended, STARTS)
        join(count)  # as WARM_UP
        return join(count) / count

    return pairs(rounds, sample, ["stock", "patched"])


def wait(rounds):
    """How often start() waits, and the seconds of a wait."""
    from safethread_patch import _start, _threads

    waits, original = [], _start.wait_until_registered

    def timed(thread):
        if _threads.is_in_limbo(thread):
            begin = clock()
            original(thread)
            waits.append(clock() - begin)

    _start.wait_until_registered = timed  # before install(), which copies the globals of start()
    safethread_patch.install()
    for _ in range(rounds):
        still_here()
        for _ in range(STARTS):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
    return {"share": len(waits) / (rounds * STARTS), "seconds": median(waits) if waits else None}


def fork_and_answer():
    """Return the seconds from the call of os.fork() to the first line that runs in the child."""
    read, write = os.pipe()
    begin = clock()
    pid = os.fork()
    if not pid:
        os.write(write, b".")
        os._exit(0)
    os.read(read, 1)
    seconds = clock() - begin
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    return seconds


def forks(rounds, count):
    """Seconds of a fork with ``count`` Threads that were never started; with wrapt imported in stock and patched."""
    with safethread_patch.installed():
        pass
    threads = [threading.Thread() for _ in range(count)]  # kept to the end
    first = threading.Thread(target=int)  # 3.6 looks at all of them only once a thread was started
    first.start()
    first.join()
    gc.collect()
    result = pairs(rounds, lambda mode: median([fork_and_answer() for _ in range(FORKS)]), ["stock", "patched"])
    del threads
    return result


def bare_fork(with_wrapt):
    """Seconds of a fork without the patch, with wrapt imported or without."""
    if with_wrapt:
        import wrapt  # noqa: F401
    return median([fork_and_answer() for _ in range(10 * FORKS)])


def memory(patched):
    """Bytes for each Thread object, while its thread runs and after its end."""
    try:
        import tracemalloc
    except ImportError:  # before 3.4, and on PyPy
        return None
    if patched:
        safethread_patch.install()

    def traced():
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    kept = []  # freed Threads would give their ids to new ones, and a table by id would not grow

    def run_all():
        still_here()
        over, threads = threading.Event(), [None] * THREADS
        before = traced()
        for index in range(THREADS):
            threads[index] = threading.Thread(target=over.wait)
            threads[index].start()
        running = traced() - before
        over.set()
        for thread in threads:
            thread.join()
        kept.extend(threads)
        return running / THREADS

    tracemalloc.start()
    run_all()  # what stays after the first time is not counted
    before = traced()
    running = [run_all() for _ in range(TURNS)]
    return {"running": median(running), "ended": (traced() - before) / (TURNS * THREADS)}
