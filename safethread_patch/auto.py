"""Importing this module installs the patch, unless the environment switches it off. It never raises.

For a ``sitecustomize.py`` of your own, for uWSGI's ``import=``, and for frozen programs. An error is reported in
one line on stderr. ``SAFETHREAD_PATCH=0``, ``off``, ``no`` or ``false`` switches it off.

.. versionadded:: 1.0
"""
from safethread_patch._bootstrap import _safethread_patch_autoload

_safethread_patch_autoload.load("auto")
