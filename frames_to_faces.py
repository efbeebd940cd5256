#!/usr/bin/env python3
"""Step 2: aligned face chips and faces.csv."""

import sys

from facesearch_trt.cli.main import main

sys.exit(main(["faces", *sys.argv[1:]]))
