"""A Thread made before the fork and started in the child: the child has marked it as stopped."""
from safethread_patch._defects._hold import in_forked_child, lie_about, witnessed


def trial():
    thread, alive = witnessed()
    return in_forked_child(lambda: lie_about(thread, alive))
