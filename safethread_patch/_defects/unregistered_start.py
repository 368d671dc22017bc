"""start() returns while the thread is in limbo: the thread sets _started before it registers."""
import threading

from safethread_patch._defects._hold import HeldRegistration, daemon


def trial():
    thread = daemon()
    with HeldRegistration(thread) as held:
        returned = held.release_when_start_waits()
        thread.start()
        in_limbo = thread in threading._limbo
        returned()
    thread.join()
    return "start() returned while the thread was in limbo" if in_limbo else None
