import sys
from pathlib import Path

# Tests are no package, and what several of them share lies beside them.
sys.path.insert(0, str(Path(__file__).parent))
