"""The system refuses to make a thread: from 3.13 on every later start() of that Thread is refused, too."""
import threading

from safethread_patch._defects import CannotTry
from safethread_patch._defects._hold import daemon

#: Bytes of stack that no system gives to a thread.
TOO_MUCH = 1 << 46


def trial():
    thread = daemon(int)
    size = threading.stack_size(TOO_MUCH)
    try:
        thread.start()
    except Exception:  # RuntimeError; on Python 2 thread.error
        pass
    else:
        raise CannotTry("the system made a thread with a stack of %d bytes" % TOO_MUCH)
    finally:
        threading.stack_size(size)
    try:
        thread.start()
    except RuntimeError as error:
        return "a second start() says %s" % error
    thread.join()
    return None
