"""``python -m gnnpot`` is ``gnnpot``."""

import sys

from gnnpot.cli import main

sys.exit(main())
