#!/usr/bin/env python3
"""Step 1: frames, frames.csv, frame_tbl.csv."""

import sys

from facesearch_trt.cli.main import main

sys.exit(main(["frames", *sys.argv[1:]]))
