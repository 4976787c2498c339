"""`python -m mfpde`: the command line."""

import sys

from mfpde.cli import main

if __name__ == "__main__":
    sys.exit(main())
