"""`python -m reconv` is the command line."""

import sys

from reconv.app import main

if __name__ == "__main__":
    sys.exit(main())
