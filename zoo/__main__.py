"""`python -m medzoo`: the same as the `medzoo` command; what torchrun starts."""

import sys

from medzoo.cli import main

sys.exit(main())
