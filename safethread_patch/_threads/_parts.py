"""What several generations of threading.Thread have in common."""
import threading


def new_event(is_set):
    """Return a new event like the one that a Thread has."""
    event = threading.Event()  # looked up when called: gevent has its own
    if is_set:
        event.set()
    return event


def forget_ids(thread):
    """Make ``thread`` one that has no ident and no native_id."""
    thread._ident = None
    if hasattr(thread, "_native_id"):  # 3.8
        thread._native_id = None
