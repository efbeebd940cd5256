"""Reads a configuration file of nvinfer; where the real element only warns of an unknown key, this raises."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

from .contract import contract
from .rules import violation


def read_config(path: Path) -> dict[str, Any]:
    """Return the checked keys of the group ``property``, with the contract's defaults for what is not there."""
    if not path.is_file():
        raise violation(f"nvinfer: no configuration file {path}")
    parser = configparser.ConfigParser(delimiters=("=",), comment_prefixes=("#",), interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string(path.read_text(encoding="utf-8"))
    known = contract()["nvinfer_config"]["groups"]
    if "property" not in parser:
        raise violation(f"nvinfer: {path} has no group [property]")
    for group in parser.sections():
        if group not in known:
            raise violation(f"nvinfer: unknown group [{group}] in {path}")
        for key in parser[group]:
            if key not in known[group]:
                raise violation(f"nvinfer: unknown key {key} in [{group}] of {path}")
    values = {key: facts["default"] for key, facts in known["property"].items() if "default" in facts}
    for key, text in parser["property"].items():
        values[key] = _value(key, text, known["property"][key], path)
    if values["symmetric-padding"] and not values["maintain-aspect-ratio"]:
        raise violation("nvinfer: symmetric-padding needs maintain-aspect-ratio")
    return values


def _value(key: str, text: str, facts: dict[str, Any], path: Path) -> Any:
    kind = facts["type"]
    if facts.get("deprecated") or facts.get("legacy"):
        raise violation(f"nvinfer: {key} is of old versions")
    try:
        if kind == "bool":
            value: Any = {"0": False, "1": True, "false": False, "true": True}[text]
        elif kind == "int":
            value = int(text)
        elif kind == "double":
            value = float(text)
        elif kind in ("int_list", "double_list"):
            value = [(int if kind == "int_list" else float)(item) for item in text.strip(";").split(";")]
        elif kind == "path":
            # Relative to the file that names it.
            value = path.parent / text
        else:
            value = text
    except (KeyError, ValueError):
        raise violation(f"nvinfer: {key}={text} is no {kind}") from None
    if "enum" in facts and value not in facts["enum"].values():
        raise violation(f"nvinfer: {key}={text} is none of {facts['enum']}")
    if ("min" in facts and value < facts["min"]) or ("max" in facts and value > facts["max"]):
        raise violation(f"nvinfer: {key}={text} is out of range")
    if "min_exclusive" in facts and value <= facts["min_exclusive"]:
        raise violation(f"nvinfer: {key}={text} is out of range")
    if "length" in facts and len(value) != facts["length"]:
        raise violation(f"nvinfer: {key}={text} takes {facts['length']} values")
    if "max_length" in facts and len(value) > facts["max_length"]:
        raise violation(f"nvinfer: {key}={text} takes at most {facts['max_length']} values")
    return value
