"""python early_hook.py stock|patched plain|spoiled: an at-fork hook older than threading's own starts a thread in the child.

"spoiled": and threading's part in the child ends half-way. A program of its own, because nothing may have imported
threading before the hook is registered. Prints what is not as promised, or "as promised".
"""
import os
import sys


class Hook(object):
    def __init__(self):
        self.thread = None
        self.is_started = False

    def __call__(self):
        if self.thread is not None:
            try:
                self.thread.start()
                self.is_started = True
            except RuntimeError:  # 3.13.0 to 3.13.3 refuse it
                pass


hook = Hook()
assert "threading" not in sys.modules
os.register_at_fork(after_in_child=hook)


def main(mode, how):
    import threading
    import warnings

    import safethread_patch
    from safethread_patch._defects._hold import daemon, in_forked_child, wait_for
    from safethread_patch._state import state

    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12+: fork in a process with threads
    if mode == "patched":
        safethread_patch.install()
    go = threading.Event()
    bystander = daemon(go.wait)
    if how == "spoiled":
        bystander._stop = bystander._after_fork = None  # threading's part calls one of them
    bystander.start()
    leave = []
    hook.thread = thread = threading.Thread(target=lambda: wait_for(lambda: leave, "it may end"))

    def look():
        if not hook.is_started:
            return "the hook's thread was refused"
        if not thread.is_alive():
            return "the hook's thread is not alive"
        if thread not in threading.enumerate():
            return "the hook's thread is not in enumerate()"
        if bystander.is_alive() or len(threading.enumerate()) != 2:
            return "a thread of the parent is alive"
        thread.join(0.05)
        if not thread.is_alive():
            return "join() marked the hook's thread as stopped"
        leave.append(True)
        thread.join()
        if thread.is_alive() or threading.enumerate() != [threading.current_thread()]:
            return "the hook's thread does not end"
        hook.thread = None
        if mode == "patched" and state.early_threads:
            return "the hook's thread is kept"
        return in_forked_child(lambda: "alive in a grandchild" if thread.is_alive() else None)

    print(in_forked_child(look) or "as promised")
    sys.stdout.flush()
    # the exit of a child waits for the thread of the hook, which is no daemon
    hook.thread = threading.Thread(target=lambda: os.write(1, b"done\n") if wait_for(lambda: leave, "it may end") is None else 0)
    pid = os.fork()
    if not pid:
        threading.Timer(0.1, leave.append, [True]).start()
        sys.exit(0)
    os.waitpid(pid, 0)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
