"""The four steps and the single pass. Read this first: it is the whole program on one page.

A clip's frames flow through a chain of generators, each of which adds something to them::

    source → shots → every N-th → detect → [frames] → [faces] → embed → [embeddings] → identify → [face_id]

Stages (left bare) touch no file; writers (in brackets) pass on what they write. The single pass chains them all. A step script runs one
stretch of the same chain over what the step before it stored, so both give the same tables. The DeepStream graph detects by itself: its
frames come with their faces and pass by the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .faces.detect import detect
from .faces.embed import embed
from .identity.shots import mark_shots
from .passing import Pass, skipped
from .plan import planned_keys, source_of, step_key
from .running.runner import Outcome, Watcher
from .store.clip import ClipStore
from .store.record import Live, Source
from .store.schema import STEPS, StepName
from .types import Clip, Frame, FrameSource
from .wiring import Tools

__all__ = [
    "JOBS",
    "face_to_faceid",
    "faces_to_embeddings",
    "frames_to_faces",
    "record_live",
    "run_pipeline",
    "video_to_frames",
]

Frames = Iterator[Frame]

_BATCHES_AHEAD = 4
"""Batches of one clip that are in the detector's hands at once, on a GPU with few cores beside it."""
_BYTES_AHEAD = 512 << 20
"""Pictures of one clip that are in the detector's hands at once: 20 of 3840x2160, 86 of 1920x1080."""


def run_pipeline(clip: Clip, tools: Tools, watcher: Watcher) -> Outcome:
    """Do what is still to be done of a clip: all in one pass, or only the last steps where the first are complete and current."""
    store = ClipStore(clip.output)
    store.tidy()
    source = source_of(clip, store.record())
    keys = planned_keys(source, tools)
    todo = [step for step in STEPS if tools.options.force or not store.is_done(step, keys[step])]
    if not todo:
        return skipped(clip, store)
    # Without crops there is nothing to make embeddings of but the clip.
    from_clip = ("frames", "faces") if tools.options.crops else ("frames", "faces", "embeddings")
    if clip.source is not None and todo[0] in from_clip:
        return _single_pass(clip, tools, watcher, keys)
    # The first steps are complete, or all that is left of the clip is what they stored.
    steps = {"faces": frames_to_faces, "embeddings": faces_to_embeddings, "identity": face_to_faceid}
    for step in STEPS[max(1, STEPS.index(todo[0])) :]:
        outcome = steps[step](clip, tools, watcher)
    return outcome


def _single_pass(clip: Clip, tools: Tools, watcher: Watcher, keys: dict[StepName, str]) -> Outcome:
    with Pass(clip, tools, watcher, keys) as job, tools.sources.open(clip, detect=True) as source:
        if job.is_done:
            return skipped(clip, job.store)
        _chain(job, source, tools)
        return job.commit(source)


def record_live(
    clip: Clip, source: FrameSource, origin: Source, lost: Callable[[], Live], tools: Tools, watcher: Watcher
) -> Outcome:
    """Do the whole job on frames that are there only once, a camera's.

    Parameters
    ----------
    origin: what is recorded as the clip's source.
    lost: tells, after the last frame, what was lost.
    """
    with Pass(clip, tools, watcher, planned_keys(origin, tools), origin) as job, source:
        _chain(job, source, tools)
        return job.commit(source, lost())


def _chain(job: Pass, source: FrameSource, tools: Tools) -> None:
    tools.load_tracker_ahead()
    frames = job.watch("decode", source)
    frames = job.watch("shots", _every(mark_shots(frames), tools.options.every))
    if not source.finds_faces:
        frames = job.watch("detect", _detect(frames, tools))
    frames = job.watch("write_frames", job.write_frames(frames, keep=tools.options.frames))
    frames = job.watch("write_faces", job.write_faces(frames, crops=tools.options.crops))
    frames = job.watch("embed", _embed(frames, tools))
    frames = job.watch("write_embeddings", job.write_embeddings(frames))
    job.write_identity(frames)


def video_to_frames(clip: Clip, tools: Tools, watcher: Watcher) -> Outcome:
    """Step 1: the frames, frames.csv, frame_tbl.csv and shots.csv."""

    def run(job: Pass) -> Outcome:
        with tools.sources.open(clip, detect=False) as source:
            frames = job.watch("decode", source)
            frames = job.watch("shots", _every(mark_shots(frames), tools.options.every))
            # Step 2 needs the pictures, and only then it is known which have faces: it removes those that are not to be kept.
            job.drain(job.watch("write_frames", job.write_frames(frames, keep="all")))
            return job.commit(source)

    return _step("frames", clip, tools, watcher, run)


def frames_to_faces(clip: Clip, tools: Tools, watcher: Watcher) -> Outcome:
    """Step 2: aligned face chips, faces.csv and quality.csv."""

    def run(job: Pass) -> Outcome:
        frames = job.watch("read_frames", job.store.load_frames(executor=tools.picture_pool))
        frames = job.watch("detect", _detect(frames, tools))
        # Step 3 makes the embeddings of the chips, and removes them if they are not to be kept.
        job.drain(job.watch("write_faces", job.write_faces(frames, crops=True)))
        job.keep_pictures(tools.options.frames)
        return job.commit()

    return _step("faces", clip, tools, watcher, run)


def faces_to_embeddings(clip: Clip, tools: Tools, watcher: Watcher) -> Outcome:
    """Step 3: embeddings.pth, and the column enorm of faces.csv."""

    def run(job: Pass) -> Outcome:
        stored = job.store.load_faces(with_chips=True, with_embeddings=False, executor=tools.picture_pool)
        frames = job.watch("read_chips", stored)
        frames = job.watch("embed", _embed(frames, tools))
        job.drain(job.watch("write_embeddings", job.write_embeddings(frames)))
        job.keep_crops(tools.options.crops)
        return job.commit()

    return _step("embeddings", clip, tools, watcher, run)


def face_to_faceid(clip: Clip, tools: Tools, watcher: Watcher) -> Outcome:
    """Step 4: the columns track_id and face_id of faces.csv."""

    def run(job: Pass) -> Outcome:
        frames = job.watch("read_faces", job.store.load_faces(with_chips=False, with_embeddings=True))
        job.write_identity(frames)
        return job.commit()

    return _step("identity", clip, tools, watcher, run)


def _step(step: StepName, clip: Clip, tools: Tools, watcher: Watcher, run: Callable[[Pass], Outcome]) -> Outcome:
    """Run one step over what the step before it stored, unless it is complete."""
    store = ClipStore(clip.output)
    store.tidy()
    key = step_key(step, clip, store.record(), tools)
    if not tools.options.force and store.is_done(step, key):
        return skipped(clip, store)
    with Pass(clip, tools, watcher, {step: key}) as job:
        return skipped(clip, store) if job.is_done else run(job)


JOBS: dict[str, Callable[[Clip, Tools, Watcher], Outcome]] = {
    "run": run_pipeline,
    "frames": video_to_frames,
    "faces": frames_to_faces,
    "embeddings": faces_to_embeddings,
    "identity": face_to_faceid,
}
"""By sub-command."""


def _detect(frames: Iterable[Frame], tools: Tools) -> Frames:
    batch = tools.detect_batch
    return detect(
        frames,
        tools.detector,
        tools.aligner,
        tools.network_pool,
        # So many that the networks do not wait while the tracker takes a batch of embedded ones.
        ahead=max(8 * tools.threads, _BATCHES_AHEAD * batch),
        ahead_bytes=_BYTES_AHEAD,
        batch=batch,
    )


def _embed(frames: Iterable[Frame], tools: Tools) -> Frames:
    return embed(frames, tools.embedder, tools.network_pool, ahead=tools.threads)


def _every(frames: Iterable[Frame], every: int) -> Frames:
    return (frame for frame in frames if frame.frame_num % every == 0)
