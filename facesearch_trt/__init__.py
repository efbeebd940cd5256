"""Face search over directories of videos: frames, faces, embeddings, people.

Start reading at :mod:`facesearch_trt.steps`.
"""

import os

# OpenCV reads it once, when it is loaded. Pictures with more pixels than this are refused by their header, before they fill the memory.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))

__all__ = ["__version__"]

__version__ = "0.1.0"
