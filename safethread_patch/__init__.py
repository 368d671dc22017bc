"""threading.Thread tells the truth: when start() returns, and in a forked child.

>>> import safethread_patch
>>> safethread_patch.install()
True
"""
from safethread_patch._install import (
    SafeThreadWarning,
    UnsupportedInterpreter,
    install,
    installed,
    is_installed,
    status,
    uninstall,
)

__version__ = "0.1.0"

__all__ = [
    "SafeThreadWarning",
    "UnsupportedInterpreter",
    "install",
    "installed",
    "is_installed",
    "status",
    "uninstall",
]
