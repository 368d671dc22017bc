"""A signal handler raises in the middle of threading's part in the child: the rest of that part is not done."""
import threading

from safethread_patch._defects._hold import InterruptedChild, daemon, in_forked_child


def trial():
    stay = threading.Event()
    bystander = daemon(stay.wait)
    bystander.start()
    with InterruptedChild() as interrupted:
        lie = in_forked_child(lambda: interrupted.check() or spoiled(bystander))
    stay.set()
    bystander.join()
    return lie


def spoiled(bystander):
    if bystander.is_alive():
        return "a thread of the parent is alive in the child"
    if threading.enumerate() != [threading.current_thread()]:
        return "enumerate() lists a thread of the parent"
    return None
