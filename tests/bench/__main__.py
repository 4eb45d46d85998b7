"""``python -m tests.bench``, see :mod:`tests.bench.runner`."""

import sys

from tests.bench.runner import main

if __name__ == "__main__":
    sys.exit(main())
