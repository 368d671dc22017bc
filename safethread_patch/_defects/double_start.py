"""Two threads start one Thread at the same time: both may pass start()'s check before either takes effect."""
from safethread_patch import _threads
from safethread_patch._defects._hold import DEADLINE, StandIn, start_in_background, wait_for, witnessed
from safethread_patch._state import state


def trial():
    thread, alive = witnessed()
    starters, arrived, outcomes = [], set(), [[], []]

    def before():
        ident = _threads.low_level.get_ident()
        if ident == thread.ident:
            # the new thread is about to register, and a start() that fails removes it from limbo meanwhile
            wait_for(lambda: all(outcomes) or state.wakeup_locks, "both start() have returned")
        elif ident in starters and ident not in arrived:
            # a starter has passed start()'s check, and lets the other one pass it, unless that was refused
            arrived.add(ident)
            wait_for(lambda: len(arrived) == 2 or any(outcomes), "both starters have passed the check")

    with StandIn(before):
        outcomes[:] = [start_in_background(thread, starters), start_in_background(thread, starters)]
        try:
            wait_for(lambda: all(outcomes), "both start() have returned")
        except RuntimeError:
            return "start() hangs"
    told = [outcome[0] for outcome in outcomes]
    thread.join(DEADLINE)
    if told.count("ok") != 1:
        return "%d of 2 start() succeeded" % told.count("ok")
    if len(alive) != 1:
        return "run() was called %d times" % len(alive)
    return None
