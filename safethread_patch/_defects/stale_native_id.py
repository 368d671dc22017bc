"""In a forked child, native_id is that of the parent's thread (gh-132542)."""
import threading

from safethread_patch._defects import CannotTry
from safethread_patch._defects._hold import in_forked_child


def trial():
    if not hasattr(threading, "get_native_id"):
        raise CannotTry("native_id is new in 3.8")

    def look():
        said, real = threading.current_thread().native_id, threading.get_native_id()
        return None if said == real else "native_id is the parent's"

    return in_forked_child(look)
