"""Decodes a video by NVDEC in plain GStreamer: for machines with an NVIDIA GPU and without DeepStream.

Pictures stay in device memory until they have been read there; :mod:`.cuda_memory` says how. Only decoders of GStreamer's nvcodec plugin
are taken: another vendor's, or one on the CPU, is never picked in their place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError, DecodeError
from ..lookahead import ordered_map
from ..types import Array, Clip, FaceBatch, Frame
from .clip_source import ClipSource, Taken
from .cuda_memory import CUDA_FEATURE, CudaContext, CudaPicture, cuda_library, cuda_picture, share_context
from .elements import has_element
from .gst import codec_name, gstreamer
from .nvdec import is_usual, takes
from .pixel_aspect import check_square
from .plug import best_factory, without_framing

__all__ = ["NvcodecSource", "Read", "ToRead", "check_nvcodec", "decodes"]

log = logging.getLogger(__name__)

_PLUGIN = "nvcodec"
_CONVERT = "cudaconvert"
"""Makes NV12 of pictures of more than 8 bits and other kinds; those of the usual kind pass. It needs CUDA's run-time compiler."""
_GROUPS_AHEAD = 2
"""Groups of pictures that are read at once: while one is on the GPU, the next comes from the decoder."""


@dataclass(frozen=True, slots=True)
class ToRead:
    """A picture that is to be read while it lies in device memory."""

    picture: CudaPicture
    orientation: str
    """GStreamer's image-orientation tag: what turns it upright."""
    with_faces: bool
    """Whether its faces are wanted."""


Read = Callable[[Sequence[ToRead]], list[tuple[Array, FaceBatch]]]
"""Returns for each picture its upright copy on the host, uint8 [H, W, 3] BGR, and its faces, none where they are not wanted."""


def check_nvcodec() -> None:
    """Raise BackendError where GStreamer has no decoder of NVIDIA's here."""
    gst = gstreamer()
    factories = gst.ElementFactory.list_get_elements(gst.ELEMENT_FACTORY_TYPE_DECODER, gst.Rank.MARGINAL)
    if not any(factory.get_plugin_name() == _PLUGIN for factory in factories):
        raise BackendError(
            "GStreamer has no NVIDIA decoder on this machine",
            asked="the nvcodec plugin with a GPU that has NVDEC",
            remedy="facesearch doctor says what is missing; or use --graph software.",
        )
    cuda_library()


def decodes(caps: Any) -> bool:
    """Return whether the graph takes a coded stream with these caps."""
    factory = _decoder(without_framing(caps))
    return factory is not None and takes(factory, caps) and (has_element(_CONVERT) or is_usual(caps))


def _decoder(caps: Any) -> Any | None:
    return best_factory(gstreamer().ELEMENT_FACTORY_TYPE_DECODER, caps, {_PLUGIN})


@dataclass(frozen=True, slots=True)
class _Held:
    sample: Any
    orientation: str


class NvcodecSource(ClipSource[_Held]):
    """The frames of one video, decoded by NVDEC; see :class:`.clip_source.ClipSource`.

    Parameters
    ----------
    clip, stall_timeout_s: see :class:`.clip_source.ClipSource`.
    context: the one in which the pictures are read.
    read: reads up to ``batch`` pictures at a time, in the executor's threads.
    every: faces are wanted for every N-th frame.
    finds_faces: whether they are wanted at all; the frames come with them then.
    """

    graph = "nvcodec"

    def __init__(
        self,
        clip: Clip,
        *,
        stall_timeout_s: float,
        context: CudaContext,
        read: Read,
        executor: Executor,
        batch: int,
        every: int,
        finds_faces: bool,
    ) -> None:
        super().__init__(clip, stall_timeout_s=stall_timeout_s)
        self.finds_faces = finds_faces
        self._context = context
        self._read = read
        self._executor = executor
        self._batch = batch
        self._every = every

    def _conversion(self) -> str:
        convert = f"{_CONVERT} ! " if has_element(_CONVERT) else ""
        return f"{convert}video/x-raw({CUDA_FEATURE}),format=NV12"

    def _prepare(self, pipeline: Any) -> None:
        share_context(pipeline, self._context)

    def _decoder_for(self, caps: Any) -> Any:
        factory = _decoder(caps)
        if factory is None:
            raise DecodeError(
                f"this GPU or GStreamer has no NVIDIA decoder for {codec_name(caps)}",
                where=self._path,
                remedy="Use --graph software for it; facesearch doctor lists the decoders.",
            )
        log.debug("%s: decoded by %s", self._path, factory.get_name())
        return factory.create(None)

    def _take(self, sample: Any, orientation: str) -> _Held:
        check_square(sample.get_caps(), self._path)
        return _Held(sample, orientation)

    def _frames(self, taken: Iterator[Taken[_Held]]) -> Iterator[Frame]:
        broken: list[DecodeError] = []

        def groups() -> Iterator[list[Taken[_Held]]]:
            group: list[Taken[_Held]] = []
            try:
                for one in taken:
                    group.append(one)
                    if len(group) >= self._batch:
                        yield group
                        group = []
            except DecodeError as error:
                # What was decoded before comes first.
                broken.append(error)
            if group:
                yield group

        for frames in ordered_map(self._executor, self._frames_of, groups(), ahead=_GROUPS_AHEAD):
            yield from frames
        if broken:
            raise broken.pop()

    def _frames_of(self, group: list[Taken[_Held]]) -> list[Frame]:
        """Return the frames of some pictures; runs in one of the executor's threads."""
        with ExitStack() as stack:
            asked = [
                ToRead(
                    stack.enter_context(cuda_picture(one.picture.sample)),
                    one.picture.orientation,
                    self.finds_faces and one.frame_num % self._every == 0,
                )
                for one in group
            ]
            found = self._read(asked)
        frames = []
        for one, (image, faces) in zip(group, found, strict=True):
            image.flags.writeable = False
            frames.append(Frame(one.frame_num, one.pts_s, image.shape[1], image.shape[0], image, faces=faces))
        # The samples go back to the decoder's pool now, not when the frames are done with.
        group.clear()
        return frames
