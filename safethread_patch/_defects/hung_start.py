"""The new thread ends before it says that it runs: start() waits for it without end (gh-140746)."""
import threading

from safethread_patch._defects._hold import DiesAtBirth, start_in_background, wait_for

#: Seconds after which a start() hangs whose thread is dead.
PATIENCE = 2


def trial():
    thread = DiesAtBirth()
    outcome = start_in_background(thread)
    try:
        wait_for(lambda: outcome, "start() has returned", PATIENCE)
    except RuntimeError:
        return "start() hangs"
    if outcome == ["ok"]:
        return "start() says that it worked"
    if thread.is_alive() or thread in threading.enumerate():
        return "the Thread is alive, or in enumerate()"
    thread.error = None
    thread.start()
    thread.join()
    return None
