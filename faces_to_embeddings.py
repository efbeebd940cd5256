#!/usr/bin/env python3
"""Step 3: embeddings.pth, and enorm in faces.csv."""

import sys

from facesearch_trt.cli.main import main

sys.exit(main(["embeddings", *sys.argv[1:]]))
