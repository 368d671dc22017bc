"""One small module for each defect. Its trial() shows the defect on a stock interpreter, and with the patch that it is gone.

A trial returns None, or a text that says what went wrong. It raises :exc:`CannotTry` where there is nothing to try.
Races are held open with the tools of :mod:`safethread_patch._defects._hold`, not tried until they happen by chance.
"""


class CannotTry(Exception):
    """The trial means nothing on this interpreter; the message says why."""


def trial_of(defect_id):
    """Return the trial() of the defect with this id."""
    name = "%s.%s" % (__name__, defect_id.replace("-", "_"))
    return __import__(name, fromlist=["trial"]).trial  # 2.6 has no importlib
