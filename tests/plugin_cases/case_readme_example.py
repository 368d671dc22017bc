"""The example of docs/usage.md, with the patch and without it."""
import threading


def is_alive_in_worker(fork):
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.daemon = True

    def worker():
        thread.start()
        return thread.is_alive()

    return fork(worker).value


def test_patched(safethread, safethread_fork):
    assert is_alive_in_worker(safethread_fork) is True


def test_stock(safethread_fork):
    threading.Thread(target=int).start()  # 3.6 has the defect once any thread was started
    assert is_alive_in_worker(safethread_fork) is True
