"""A Thread whose start is in flight in another thread at the fork: the child has it half started."""
from safethread_patch._defects._hold import HeldBootstrap, in_forked_child, lie_about, start_in_background, witnessed


def trial():
    thread, alive = witnessed(HeldBootstrap)
    start_in_background(thread)
    thread.reached.wait()
    try:
        return in_forked_child(lambda: lie_about(thread, alive))
    finally:
        thread.go.set()
