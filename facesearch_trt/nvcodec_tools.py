"""The nvcodec graph of a run: what NVDEC left in device memory becomes pictures on the host, and faces that are found on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import BackendError
from .faces.align import Aligner
from .faces.decode import Look
from .faces.detect import Detector, with_quality
from .faces.embed import Embedder
from .faces.letterbox import Letterbox
from .graph.cuda_memory import CudaContext, CudaPicture
from .graph.nvcodec import ToRead, check_nvcodec
from .graph.orientation import UPRIGHT, upright
from .inference.device import CudaDevice, cuda_device
from .inference.device_faces import DeviceFaces
from .inference.device_frames import DeviceFrame, HostFrame, picture_from_nv12
from .inference.engine import Engine
from .inference.heads import head_groups
from .inference.host_copies import Fetch, HostCopies
from .inference.kernels import Pixels, load_kernels
from .inference.tensorrt import TensorRTEngine
from .types import Array, FaceBatch

__all__ = ["FacesOnDevice", "PictureReader", "nvcodec_context", "nvcodec_problem", "picture_reader"]


def nvcodec_problem() -> BackendError | None:
    """Return why NVDEC cannot be used in plain GStreamer on this machine, None where it can."""
    try:
        check_nvcodec()
        cuda_device()
    except BackendError as error:
        return error
    return None


def nvcodec_context() -> CudaContext:
    """Return the context of the GPU that the networks run on. Raises EngineError without a GPU."""
    device = cuda_device()
    return CudaContext(device.context_handle, device.index)


@dataclass(frozen=True)
class FacesOnDevice:
    """Networks that are ready on TensorRT, and what reads them."""

    detector: Detector
    embedder: Embedder
    engines: tuple[Engine, Engine]
    """The detector's and the embedder's."""
    aligner: Aligner


@contextmanager
def picture_reader(faces: FacesOnDevice | None, engines: Path) -> Iterator[PictureReader]:
    """Give what reads pictures, for a while; may be used from several threads at once.

    Parameters
    ----------
    faces: finds the faces; None where they are not wanted.
    engines: directory of engines, where the compiled kernels are.

    Raises EngineError where there is no GPU or the kernels cannot be had.
    """
    device = cuda_device()
    with ExitStack() as stack:
        copies = stack.enter_context(closing(HostCopies(device)))
        search = None if faces is None else (_device_faces(faces, device, engines), faces.aligner)
        yield PictureReader(device, copies, search)


class PictureReader:
    """Makes host pictures and faces of pictures in device memory. Get it from :func:`picture_reader`."""

    def __init__(
        self, device: CudaDevice, copies: HostCopies, search: tuple[DeviceFaces[Letterbox], Aligner] | None
    ) -> None:
        self._device = device
        self._copies = copies
        self._search = search

    def __call__(self, asked: Sequence[ToRead]) -> list[tuple[Array, FaceBatch]]:
        """Return for each picture its upright copy on the host, uint8 [H, W, 3] BGR, and its faces with chips, quality
        and embeddings."""
        # One wait for the whole group: it makes all of its pictures complete, for the copies and for the search on the device.
        with self._copies.ready() as fetch:
            images = [upright(_on_host(one.picture, fetch), one.orientation) for one in asked]
        found = [FaceBatch.empty() for _ in asked]
        if self._search is not None:
            find, aligner = self._search
            # Pictures lie on the device as they were coded: those that are to be turned go there again.
            lying = [index for index, one in enumerate(asked) if one.with_faces and one.orientation == UPRIGHT]
            turned = [index for index, one in enumerate(asked) if one.with_faces and one.orientation != UPRIGHT]
            if lying:
                frames = [_device_frame(asked[index].picture) for index in lying]
                for index, faces in zip(lying, find(frames), strict=True):
                    found[index] = with_quality(faces, aligner)
            for index, faces in zip(turned, self._of_host([images[index] for index in turned], find), strict=True):
                found[index] = with_quality(faces, aligner)
        return list(zip(images, found, strict=True))

    def _of_host(self, images: list[Array], find: DeviceFaces[Letterbox]) -> Iterator[FaceBatch]:
        if not images:
            return
        with self._device.active(), ExitStack() as stack:
            stream = self._device.stream()
            stack.callback(stream.close)
            place = stack.enter_context(closing(HostFrame(self._device, stream)))
            for image in images:
                yield find([place.upload(np.ascontiguousarray(image))])[0]


def _on_host(picture: CudaPicture, fetch: Fetch) -> Array:
    """Return a copy of a picture as it lies, uint8 [H, W, 3] BGR."""
    rows = picture.height, (picture.height + 1) // 2
    pieces = [
        (pointer, pitch * count) for pointer, pitch, count in zip(picture.planes, picture.pitches, rows, strict=True)
    ]
    luma, chroma = (
        plane.reshape(count, pitch) for plane, count, pitch in zip(fetch(pieces), rows, picture.pitches, strict=True)
    )
    columns = (picture.width + 1) // 2
    return picture_from_nv12(
        luma[:, : picture.width],
        chroma[:, : 2 * columns].reshape(rows[1], columns, 2),
        picture.matrix,
        full_range=picture.full_range,
    )


def _device_frame(picture: CudaPicture) -> DeviceFrame:
    return DeviceFrame(
        "nv12",
        picture.width,
        picture.height,
        picture.planes,
        picture.pitches,
        matrix=picture.matrix,
        full_range=picture.full_range,
    )


def _device_faces(faces: FacesOnDevice, device: CudaDevice, engines: Path) -> DeviceFaces[Letterbox]:
    detector, embedder, aligner = faces.detector, faces.embedder, faces.aligner
    first, second = faces.engines
    assert isinstance(first, TensorRTEngine) and isinstance(second, TensorRTEngine)
    read = detector.faces_from_outputs

    def faces_of(looks: Sequence[tuple[Mapping[str, Array], int, Letterbox]], width: int, height: int) -> FaceBatch:
        return read([Look(*look) for look in looks], width, height)

    with device.active():
        kernels = load_kernels(device, engines)
    return DeviceFaces(
        detector=first,
        embedder=second,
        kernels=kernels,
        letterboxes=detector.letterboxes,
        read=faces_of,
        transforms=aligner.transforms,
        groups=head_groups(detector.spec.decoder, list(first.outputs)),
        score_threshold=read.score_threshold,
        detector_pixels=Pixels(detector.spec.colour, detector.spec.mean, detector.spec.std),
        embedder_pixels=Pixels(embedder.spec.colour, embedder.spec.mean, embedder.spec.std),
        chip_size=embedder.spec.chip_size,
    )
