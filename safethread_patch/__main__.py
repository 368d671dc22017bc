"""``python -m safethread_patch``, also ``safethread-patch``."""
import sys

from safethread_patch._cli import main

if __name__ == "__main__":
    sys.exit(main())
