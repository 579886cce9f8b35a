"""``python -m meden`` is the command line."""

import sys

from meden.cli import main

sys.exit(main())
