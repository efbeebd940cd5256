#!/usr/bin/env python3
"""The whole job in one pass over each clip, nothing decoded twice."""

import sys

from facesearch_trt.cli.main import main

sys.exit(main(["run", *sys.argv[1:]]))
