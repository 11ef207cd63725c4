import sys
from pathlib import Path

# Tests are not a package; shared modules lie beside them.
sys.path.insert(0, str(Path(__file__).parent))
