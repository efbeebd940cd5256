#!/usr/bin/env python3
"""Step 4: track_id and face_id in faces.csv."""

import sys

from facesearch_trt.cli.main import main

sys.exit(main(["identity", *sys.argv[1:]]))
