"""As zombie_after_fork, but another thread forks during start(), against which no wait in start() helps."""
from safethread_patch._defects._hold import HeldRegistration, daemon, in_forked_child, start_in_background
from safethread_patch._defects.zombie_after_fork import zombie


def trial():
    thread = daemon()
    with HeldRegistration(thread) as held:
        start_in_background(thread)
        held.reached.wait()
        return in_forked_child(lambda: zombie(thread))
