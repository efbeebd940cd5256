"""Every option of the program, with its default, range and meaning. No other module holds defaults.

``configs/default.yaml`` is this table rendered by :func:`render_yaml`; command-line flags are made from it too. Values come from,
in rising order: the defaults here, the YAML file given with ``--config``, the command line.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from .errors import OptionError

__all__ = [
    "CONFIGS",
    "Options",
    "flag_of",
    "load_options",
    "option_type",
    "options_as_dict",
    "options_with",
    "render_yaml",
]


_PACKAGED = Path(__file__).parent / "configs"
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "configs"
"""Directory of the YAML files: inside an installed package, beside the package in a checkout."""


def _option(
    default: Any,
    help: str,
    *,
    section: str,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    metadata = {"help": help, "section": section, "choices": choices, "low": low, "high": high}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a run. The help texts are the reference; see ``configs/default.yaml``."""

    pack: str = _option(
        "open", "Detector and embedder used together; `facesearch models` lists the packs.", section="models"
    )
    detector: str | None = _option(None, "Use this detector instead of the pack's.", section="models")
    embedder: str | None = _option(None, "Use this embedder instead of the pack's.", section="models")
    models_file: str | None = _option(
        None, "YAML file with further models and packs, in the form of configs/models.yaml.", section="models"
    )

    graph: str = _option(
        "auto",
        "How clips are decoded: on the CPU, by NVDEC in plain GStreamer, or in a DeepStream graph; auto takes the best there is.",
        section="machine",
        choices=("auto", "software", "nvcodec", "deepstream"),
    )
    backend: str = _option(
        "auto",
        "What runs the networks; auto takes TensorRT on a machine with an NVIDIA GPU and its engines, else ONNX Runtime.",
        section="machine",
        choices=("auto", "onnxruntime", "tensorrt"),
    )
    precision: str = _option(
        "auto",
        "In which numbers the networks compute; auto takes fp16 on TensorRT and fp32 on ONNX Runtime.",
        section="machine",
        choices=("auto", "fp32", "fp16", "int8"),
    )
    engines: str | None = _option(
        None, "Directory of built engines; null for engines/ of the checkout or the program's cache.", section="machine"
    )
    threads: int = _option(
        0, "Worker threads for the networks; 0 for one per core.", section="machine", low=0, high=1024
    )
    stall_timeout_s: float = _option(
        60.0,
        "Give a clip up when its decoder made no progress for so many seconds.",
        section="machine",
        low=1,
        high=86400,
    )

    clips_at_once: int = _option(
        0,
        "Clips in work at once, for when one by itself leaves cores or the GPU idle; each takes memory. 0: two, more on a machine with"
        " more than 7 cores.",
        section="machine",
        low=0,
        high=256,
    )
    isolate: bool = _option(
        True,
        "Work in a process apart, so that a clip which crashes a decoder fails alone and the others go on.",
        section="machine",
    )

    ray_cpus: int = _option(
        0,
        "Cores that Ray sets aside for each clip in work on a cluster; 0: 2 beside a GPU, else up to 4.",
        section="machine",
        low=0,
        high=256,
    )
    ray_gpu_share: float = _option(
        0.25,
        "Share of a GPU that Ray sets aside for each clip in work on a cluster with GPUs; by its memory, of which a worker needs its own.",
        section="machine",
        low=0.01,
        high=1,
    )

    every: int = _option(1, "Use every N-th frame.", section="frames", low=1, high=1_000_000)
    frames: str = _option(
        "all",
        "Which pictures to keep: all, only those with faces, or none; step by step, step 2 removes the others. frames.csv lists every frame.",
        section="frames",
        choices=("all", "faces", "none"),
    )
    crops: bool = _option(
        True,
        "Keep pictures of faces; without them only tables and embeddings tell of a face. Step by step, step 3 removes them.",
        section="frames",
    )
    png_compression: int = _option(
        1,
        "Compression of the written PNG files: 1 is fastest, 9 smallest and many times slower.",
        section="frames",
        low=0,
        high=9,
    )

    detector_size: int = _option(
        0,
        "Longer side in px at which the detector looks at a frame; larger finds smaller faces and takes longer. 0: two thirds of the"
        " frame's own, within 640 to 1280.",
        section="faces",
        low=0,
        high=8192,
    )
    close_up_size: int = _option(
        0,
        "Longer side in px of a second look that finds faces filling the picture, 128 to 320; 0 for none.",
        section="faces",
        low=0,
        high=1024,
    )
    score_threshold: float | None = _option(
        None, "Least score of a face; null for the detector's own in the catalogue.", section="faces", low=0, high=1
    )
    nms_iou: float = _option(
        0.3, "Of two boxes that overlap by more than this IoU the weaker goes.", section="faces", low=0, high=1
    )
    min_face_px: float = _option(
        12.0,
        "Least side in px, in the original frame, of a face that is reported; profiles must be larger and surer. 0: all.",
        section="faces",
        low=0,
        high=8192,
    )
    detect_batch: int = _option(
        8,
        "Frames shown to the detector at once on a GPU; on a CPU it gains nothing and is 1.",
        section="faces",
        low=1,
        high=256,
    )
    embed_batch: int = _option(32, "Faces embedded at once, gathered across frames.", section="faces", low=1, high=1024)

    deepsort: str | None = _option(
        None, "YAML file with the usual deep_sort keys; null for configs/deep_sort.yaml.", section="identity"
    )
    similarity_threshold: float | None = _option(
        None,
        "Least cosine similarity of two tracks of one person; null for the embedder's calibrated value in the catalogue.",
        section="identity",
        # Between these and the ends there is room for a safe side and for strangers; see identity.scale.
        low=-0.999,
        high=0.999,
    )

    report: bool = _option(
        True, "Write ROOT/report.html at the end: who is where, in one file with pictures of faces.", section="run"
    )
    force: bool = _option(False, "Do finished work again.", section="run")


def option_type(option: Field[Any]) -> tuple[type, bool]:
    """Return an option's plain type and whether it may be None."""
    hint = get_type_hints(Options)[option.name]
    if get_origin(hint) in (Union, types.UnionType):
        plain = next(part for part in get_args(hint) if part is not type(None))
        return plain, True
    return hint, False


def flag_of(name: str) -> str:
    """Return the command-line flag of an option. Options of the contract keep their underscore or hyphen as it is spelt there."""
    return "--" + name.replace("_", "-")


def options_with(options: Options, changes: Mapping[str, object], *, where: str) -> Options:
    """Return ``options`` with checked changes.

    Raises OptionError, naming ``where`` the change came from, for an unknown name (with the nearest known one), a wrong type, a value
    out of range or not among the choices.
    """
    known = {option.name: option for option in fields(Options)}
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else "configs/default.yaml lists all options."
            raise OptionError("unknown option", where=where, asked=name, remedy=remedy)
        checked[name] = _checked(known[name], value, where)
    return replace(options, **checked)


def _checked(option: Field[Any], value: object, where: str) -> object:
    plain, optional = option_type(option)
    if value is None and optional:
        return None
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, plain) or (plain is not bool and isinstance(value, bool)):
        raise OptionError(
            f"option {option.name!r} has a wrong type",
            where=where,
            asked=repr(value),
            found=f"it takes {plain.__name__}",
        )
    choices, low, high = (option.metadata[key] for key in ("choices", "low", "high"))
    if choices and value not in choices:
        raise OptionError(
            f"option {option.name!r} has no such value", where=where, asked=repr(value), found=", ".join(choices)
        )
    # Written so that NaN fails too.
    if plain in (int, float) and not (low <= value <= high):
        raise OptionError(
            f"option {option.name!r} is out of range", where=where, asked=value, found=f"it takes {low} to {high}"
        )
    return value


def load_options(path: Path) -> dict[str, object]:
    """Return the options that a YAML file gives, by name.

    Raises OptionError where the file is missing, is no YAML mapping, or :func:`options_with` refuses an option.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OptionError(
            "no such configuration file", where=path, remedy="configs/default.yaml is an example."
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise OptionError("cannot read the configuration", where=path, found=error) from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise OptionError("the configuration is not a mapping of options", where=path, found=type(content).__name__)
    options_with(Options(), content, where=str(path))
    return content


def options_as_dict(options: Options) -> dict[str, Any]:
    """Return the options as a configuration file holds them."""
    return {option.name: getattr(options, option.name) for option in fields(Options)}


def render_yaml() -> str:
    """Return ``configs/default.yaml``: every option with its default and its help as a comment."""
    lines = [
        "# Every option with its default. Made by `facesearch config`; a file given with --config may hold any of them."
    ]
    section = None
    for option in fields(Options):
        if option.metadata["section"] != section:
            section = option.metadata["section"]
            lines += ["", f"# --- {section} ---"]
        lines.append(f"# {option.metadata['help']}")
        if option.metadata["choices"]:
            lines.append(f"# One of: {', '.join(option.metadata['choices'])}.")
        lines.append(f"{option.name}: {yaml.safe_dump(option.default).splitlines()[0]}")
    return "\n".join(lines) + "\n"
