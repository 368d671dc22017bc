"""One small module a defect: its trial() shows the defect on a stock interpreter and shows it gone.

A trial returns None, or in words what it saw; it raises :exc:`CannotTry` where there is nothing to try.
Races are held open with the tools of :mod:`safethread_patch._defects._hold`, not tried often.
"""


class CannotTry(Exception):
    """The trial means nothing on this interpreter; the message says why."""


def trial_of(defect_id):
    """Return the trial() of the defect with this id."""
    name = "%s.%s" % (__name__, defect_id.replace("-", "_"))
    return __import__(name, fromlist=["trial"]).trial  # 2.6 has no importlib
