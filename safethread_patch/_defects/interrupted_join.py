"""Ctrl-C in join() or is_alive(): the Thread is marked as ended while it runs, or its lock stays taken after its end.

is_alive() is the part of join() that does not wait. It is interrupted wherever a signal handler may run.
"""
import functools
import threading

from safethread_patch import _threads
from safethread_patch._defects._hold import daemon, interrupted, wait_for


def trial():
    return _lie_of_interrupted(False) or _lie_of_interrupted(True)


def _lie_of_interrupted(is_over):
    step = 0
    while True:
        over = threading.Event()
        thread = daemon(over.wait)
        thread.start()
        if is_over:
            over.set()
            wait_for(functools.partial(_threads.is_dead, thread), "the thread is over")
        was_interrupted = interrupted(thread.is_alive, step)
        says_alive = thread.is_alive()
        over.set()
        if not was_interrupted:
            return None
        if says_alive and is_over:
            return "alive, and its lock is taken, after its end"
        if not says_alive and not is_over:
            return "not alive while it runs"
        step += 1
