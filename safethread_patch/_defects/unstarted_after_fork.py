"""A Thread made before the fork and started in the child: the child has marked it as stopped."""
from safethread_patch._defects._hold import daemon, in_forked_child, lie_about, witnessed


def trial():
    thread, alive = witnessed()
    # 3.6 runs no at-fork code before a first thread
    other = daemon()
    other.start()
    other.join()
    return in_forked_child(lambda: lie_about(thread, alive))
