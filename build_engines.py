#!/usr/bin/env python3
"""Once per machine: fetch the weights, make the ONNX files and build the engines."""

import sys

from facesearch_trt.cli.main import main

sys.exit(main(["build", *sys.argv[1:]]))
