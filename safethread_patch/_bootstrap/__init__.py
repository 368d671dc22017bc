"""A folder for PYTHONPATH, and what loads the patch from there."""
