"""`python -m trp_search`, the same as `trp-search`."""

import sys

from trp_search.cli import main

if __name__ == "__main__":
    sys.exit(main())
