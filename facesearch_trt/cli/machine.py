"""What this machine can do, part by part, and what a run with some options would use: the facts of ``facesearch doctor``."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Options
from ..errors import FaceSearchError, pip_install
from ..graph.capabilities import deepstream_capabilities, nvcodec_capabilities, software_capabilities
from ..inference.capabilities import engine_capabilities, gpu_capabilities, runtime_capabilities
from ..inference.choose import NetworkOrder
from ..inference.device import gib
from ..models.listing import list_models
from ..models.places import home_directory
from ..types import Capability
from ..wiring import Tools, detector_order, embedder_order, engines_of

__all__ = ["Examination", "Section", "examine"]

_PACKAGE = "facesearch_trt"
_BUILD = "Run: facesearch build"
_LEAST_BYTES = 512 << 20
"""Less free space does not hold the networks and a clip's results."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the machine."""

    name: str
    capabilities: tuple[Capability, ...]


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    sections: tuple[Section, ...]
    plan: tuple[Capability, ...]
    """What a run with these options would take, in words; what it lacks is not ready."""

    @property
    def can_run(self) -> bool:
        """Whether the whole job can be done here as the options ask."""
        every = [one for section in self.sections for one in section.capabilities] + list(self.plan)
        return all(one.ready for one in every if one.needed)


def examine(options: Options, *, networks_only: bool = False) -> Examination:
    """Look at all parts of the machine. Fetches, builds and decodes nothing; starts the first GPU, where there is one.

    Parameters
    ----------
    networks_only: leave out what decodes clips and tracks faces, as if no clip were to be read.
    """
    directory = engines_of(options)
    with Tools(options) as tools:
        networks, orders = _networks(tools, options)
        clips = (
            ()
            if networks_only
            else (
                Section("Python", tuple(_python())),
                Section("Decoding on the CPU", tuple(software_capabilities())),
                Section("Decoding by NVDEC in plain GStreamer", tuple(nvcodec_capabilities())),
                Section("DeepStream", tuple(deepstream_capabilities())),
            )
        )
        sections = (
            *clips,
            Section("GPU", tuple(gpu_capabilities())),
            Section("Runtimes of the networks", tuple(runtime_capabilities(directory))),
            Section("Networks", tuple(networks)),
            Section(f"TensorRT engines in {directory}", tuple(engine_capabilities(directory, orders))),
            Section("Disk", (_disk("space for networks", home_directory()), _disk("space for engines", directory))),
        )
        with _quiet():
            plan = tuple(_plan(tools, has_networks=bool(orders), networks_only=networks_only))
        return Examination(sections, plan)


def _python() -> list[Capability]:
    version = platform.python_version()
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    found = [Capability("Python", fits, f"{version} on {platform.machine()}", "Use Python 3.10 to 3.12.", needed=True)]
    try:
        requirements = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return [*found, Capability("packages", True, "run from its source without being installed, so not listed")]
    for requirement in requirements:
        if ";" in requirement:  # of an extra
            continue
        name = re.split(r"[<>=!~\[ ]", requirement, maxsplit=1)[0]
        try:
            found.append(Capability(name, True, importlib.metadata.version(name), needed=True))
        except importlib.metadata.PackageNotFoundError:
            found.append(Capability(name, False, "not installed", pip_install(requirement), needed=True))
    return found


def _networks(tools: Tools, options: Options) -> tuple[list[Capability], list[NetworkOrder]]:
    """Return the state of the networks that the options name, and what is asked of their engines, if both are here."""
    wanted = tools.detector_entry.name, tools.embedder_entry.name
    states = {state.name: state for state in list_models(tools.catalogue)}
    found = []
    for name in wanted:
        state = states[name]
        about = f"{state.kind}, {state.licence}, {state.size_bytes / 1e6:.1f} MB"
        if state.accepted is False:
            remedy = f"Read {state.licence_url}, then: facesearch models --accept-licence {state.licence}"
            found.append(Capability(name, False, f"{about}; its licence was not accepted", remedy, needed=True))
        elif state.state == "absent":
            # The first run fetches it, so the job can be done; whether the network answers is not tried here.
            remedy = "The first run fetches it; or now: facesearch build"
            found.append(Capability(name, False, f"{about}; not on this machine yet, from {state.source}", remedy))
        else:
            found.append(Capability(name, True, f"{about}; {state.state}"))
    others = [name for name, state in states.items() if name not in wanted and state.state != "absent"]
    if others:
        found.append(Capability("others", True, ", ".join(others)))
    if not all(capability.ready for capability in found):
        return found, []
    try:
        return found, [detector_order(tools.detector_entry, options), embedder_order(tools.embedder_entry, options)]
    except FaceSearchError as error:
        return [*found, Capability("prepared networks", False, str(error), error.remedy or "", needed=True)], []


def _disk(name: str, directory: Path) -> Capability:
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{directory}: {gib(free)} free"
    if not os.access(there, os.W_OK):
        return Capability(name, False, f"{found}, but it cannot be written", "Choose another place.", needed=True)
    if free < _LEAST_BYTES:
        return Capability(name, False, found, f"Free {gib(_LEAST_BYTES)} at least.", needed=True)
    return Capability(name, True, found, needed=True)


def _plan(tools: Tools, *, has_networks: bool, networks_only: bool) -> Iterator[Capability]:
    wanted, why = tools.options.backend, ""
    if not has_networks and wanted != "onnxruntime":
        # To look for engines would fetch the networks.
        tools = Tools(replace(tools.options, backend="onnxruntime", precision="auto"))
        why = "until the networks are here and engines are built"
    if not networks_only:
        try:
            yield Capability("graph", True, tools.sources.graph, needed=True)
        except FaceSearchError as error:
            yield _lacking("graph", error)
    name = "networks run on"
    if not has_networks and wanted == "tensorrt":
        yield Capability(name, False, "the networks are not here, so there are no engines", _BUILD, needed=True)
        return
    try:
        choice = tools.backend_choice
        yield Capability(name, True, f"{choice.name} in {choice.precision}: {why or choice.why}", needed=True)
    except FaceSearchError as error:
        yield _lacking(name, error)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: what choosing logs is said in the plan."""
    logger = logging.getLogger(_PACKAGE)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _lacking(name: str, error: FaceSearchError) -> Capability:
    return Capability(name, False, " ".join(str(error).split()), error.remedy or "", needed=True)
