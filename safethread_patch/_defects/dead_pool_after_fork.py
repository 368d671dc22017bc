"""An executor that was used before the fork: in the child it counts on workers that stayed in the parent."""
import threading

from safethread_patch._defects import CannotTry
from safethread_patch._defects._hold import in_forked_child


def trial():
    try:
        from concurrent.futures import ThreadPoolExecutor
    except ImportError:  # Python 2 without the backport
        raise CannotTry("no concurrent.futures here")
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()

    def look():
        future = pool.submit(int)
        if threading.active_count() == 1 and not future.done():
            return "the pool has no worker, and starts none"
        future.result()
        return None

    answer = in_forked_child(look)
    pool.shutdown()
    return answer
