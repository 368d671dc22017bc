"""Two threads start one Thread at once: between start()'s check and its effect is room for both."""
from safethread_patch import _threads
from safethread_patch._defects._hold import DEADLINE, StandIn, start_in_background, wait_for, witnessed
from safethread_patch._state import state


def trial():
    thread, alive = witnessed()
    starters, arrived, outcomes = [], set(), [[], []]

    def before():
        ident = _threads.low_level.get_ident()
        if ident == thread.ident:
            # the new thread, about to register: a start() that fails takes it out of limbo meanwhile
            wait_for(lambda: all(outcomes) or state.wakeup_locks, "both start() have returned")
        elif ident in starters and ident not in arrived:
            # a starter that has passed start()'s check: the other may do so too, or has been refused
            arrived.add(ident)
            wait_for(lambda: len(arrived) == 2 or any(outcomes), "both starters have come")

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
