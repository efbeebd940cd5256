"""The catalogue of networks, and the way from a published file to a checked ONNX."""

from .catalogue import Catalogue, load_catalogue
from .entries import DetectorEntry, EmbedderEntry, Licence, ModelEntry
from .licences import accept_licence
from .listing import ModelState, list_models
from .prepare import prepare_detector, prepare_embedder
from .weights import fetch_weights

__all__ = [
    "Catalogue",
    "DetectorEntry",
    "EmbedderEntry",
    "Licence",
    "ModelEntry",
    "ModelState",
    "accept_licence",
    "fetch_weights",
    "list_models",
    "load_catalogue",
    "prepare_detector",
    "prepare_embedder",
]
