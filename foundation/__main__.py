"""`python -m foundation` is the `foundation` command."""

import sys

from foundation.cli.commands import main
from foundation.common.processes.environment import drop_working_folder

if __name__ == "__main__":
    drop_working_folder()
    sys.exit(main())
