# SPDX-License-Identifier: MIT
"""``python -m pgste.cli``: the command line without its script."""

import sys

from pgste.cli import main

sys.exit(main())
