"""``python -m zskd`` is the same as ``zskd``."""

import sys

from zskd.cli import main

if __name__ == "__main__":
    sys.exit(main())
