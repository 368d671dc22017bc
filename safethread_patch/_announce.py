"""The new thread's side of a start: run() wakes the starter, if the starter waits."""
from safethread_patch._state import call_original, state, wake


def run(self):
    if state.wakeup_locks:
        announce(self)
    return call_original(self)


def announce(thread):
    """Wake the starter of ``thread``, if it waits."""
    # The starter removes the lock from the table. If this function did, an exception sent to this thread could come
    # between the removal and the release, and the starter would never wake.
    lock = state.wakeup_locks.get(id(thread))
    if lock is not None and lock.locked():
        wake(lock)
