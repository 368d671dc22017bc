"""Importing this module installs the patch, unless the environment switches it off; it never raises.

For a ``sitecustomize.py`` of your own, uWSGI's ``import=``, and frozen programs. What goes wrong is said in
one line on stderr. ``SAFETHREAD_PATCH=0``, ``off``, ``no`` or ``false`` switches it off.

.. versionadded:: 1.0
"""
from safethread_patch._bootstrap import _safethread_patch_autoload

_safethread_patch_autoload.load("auto")
