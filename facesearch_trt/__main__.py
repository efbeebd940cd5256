"""``python -m facesearch_trt`` is the ``facesearch`` command."""

import sys

from .cli.main import main

sys.exit(main())
