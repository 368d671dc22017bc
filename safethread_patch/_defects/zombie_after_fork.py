"""Fork right after start(): the child clears limbo, and does not stop the threads that were in it (issue 18418)."""
import threading

from safethread_patch._defects._hold import HeldRegistration, daemon, in_forked_child


def trial():
    done = threading.Event()
    thread = daemon(done.wait)
    with HeldRegistration(thread) as held:
        returned = held.release_when_start_waits()
        thread.start()
        lie = in_forked_child(lambda: zombie(thread))
        returned()
    done.set()
    thread.join()
    return lie


def zombie(thread):
    return "still alive in the child" if thread.is_alive() else None
