"""The folder that ``run`` puts on PYTHONPATH, and the helper that loads the patch."""
