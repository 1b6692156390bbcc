"""``python -m vlm``, the same as ``vlm``."""

import sys

from vlm.cli import main

sys.exit(main())
