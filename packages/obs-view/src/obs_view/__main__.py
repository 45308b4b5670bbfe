"""``python -m obs_view``: the command ``obs-view``."""

import sys

from obs_view._cli import main

sys.exit(main())
