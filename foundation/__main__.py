"""`python -m foundation` is the `foundation` command."""

import sys

from foundation.cli import main

if __name__ == "__main__":
    sys.exit(main())
