"""``python -m rtstyle``."""

import sys

from rtstyle.cli import main

if __name__ == "__main__":
    sys.exit(main())
