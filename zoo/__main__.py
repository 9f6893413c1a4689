"""`python -m medzoo`: the same as the `medzoo` command; what torchrun starts."""

import sys

from medzoo.cli import main
from medzoo.ranks import leave

status = main()
if status == 0:
    leave()
sys.exit(status)
