"""Face search over directories of videos: frames, faces, embeddings, people.

Start reading at :mod:`facesearch_trt.steps`.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
