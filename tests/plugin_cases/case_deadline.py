"""safethread_fork ends a child that is not done in time, and shows where it was."""
import signal
import sys
import time


def be_stuck():
    print("so far")
    time.sleep(60)


def test_stuck(safethread_fork):
    outcome = safethread_fork(be_stuck, timeout=0.5)
    assert outcome.timed_out and outcome.exitcode is None and outcome.value is None
    assert outcome.signal in (signal.SIGABRT, signal.SIGKILL) and outcome.stdout == "so far\n"
    if sys.version_info >= (3,):  # Python 2 has no faulthandler
        assert "in be_stuck" in outcome.stderr, outcome


def test_ignored_signal(safethread_fork):
    def ignore():
        signal.signal(signal.SIGABRT, signal.SIG_IGN)
        be_stuck()

    outcome = safethread_fork(ignore, timeout=0.5)
    assert outcome.timed_out and outcome.signal in (signal.SIGABRT, signal.SIGKILL)


def test_frozen_clock(safethread_fork, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0)
    if hasattr(time, "monotonic"):
        monkeypatch.setattr(time, "monotonic", lambda: 0)
    assert safethread_fork(be_stuck, timeout=0.5).timed_out
