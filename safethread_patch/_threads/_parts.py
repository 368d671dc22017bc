"""What several generations of threading.Thread have in common."""
import threading

#: ``put(thread, name, value)`` sets an attribute, also if a subclass has a __setattr__ of its own that raises.
put = object.__setattr__


def new_event(is_set):
    """Return a new event like the one that a Thread has."""
    event = threading.Event()  # looked up when called: gevent has its own
    if is_set:
        event.set()
    return event


def forget_ids(thread):
    """Make ``thread`` one that has no ident and no native_id."""
    put(thread, "_ident", None)
    if hasattr(thread, "_native_id"):  # 3.8
        put(thread, "_native_id", None)


def become_main_thread(thread):
    """Make a _DummyThread the main thread, as the newest CPython does (gh-102512)."""
    thread.__class__ = threading._MainThread
    thread._name = "MainThread"
    thread._daemonic = False
