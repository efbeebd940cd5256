"""What the web pages and the API can do with a ROOT: both call these, and these call what the command line calls."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from ..config import Options
from ..erasing import Erased, erase_clip, erase_person
from ..errors import InputError, OptionError
from ..people.corrections import (
    Undoable,
    ignore_people,
    last_correction,
    merge_people,
    name_person,
    notice_people,
    split_person,
    undo_correction,
)
from ..people.thresholds import Similarities, similarities_of
from ..people.update import known_people, resolve
from ..search.index import Answer
from ..wiring import Tools
from .alike import Alike, Resemblance
from .boxes import BoxCache
from .finder import Choice, Finder, IndexKeeper
from .jobs import Job, Jobs
from .library import Library
from .runs import Redo, RunRequest, flags_of, next_options, to_redo
from .views import ClipView, PersonView, Snapshot

__all__ = ["Service"]


class Service:
    """One ROOT, its index, and everything that changes them. A context manager; may be used from several threads.

    ``given`` are the names of the options that were asked for; searches and runs choose the others by what is there.
    """

    def __init__(self, root: Path, options: Options, index: str, given: Container[str] = ()) -> None:
        self.root, self.index = root.resolve(), index
        self._options, self._given = options, given
        self.library = Library(self.root)
        self.finder = Finder(self.root, options, index, given)
        self.keeper = IndexKeeper(self.root, index)
        self.jobs = Jobs(self._changed)
        self.boxes = BoxCache()
        self._resemblance = Resemblance(self.root)
        # Corrections one at a time: each is based on the people that its page showed.
        self._changing = threading.Lock()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.jobs.close()
        self.keeper.close()
        self.finder.close()

    def snapshot(self) -> Snapshot:
        """Return the ROOT as it is now."""
        return self.library.snapshot()

    def clip(self, clip_id: str) -> ClipView:
        """Return a clip. Raises InputError where there is none of this id."""
        found = self.snapshot().clip_of.get(clip_id)
        if found is None:
            raise InputError("there is no such clip", asked=clip_id)
        return found

    def person(self, person_id: int) -> PersonView:
        """Return a person, also under an id that was merged into another. Raises InputError where there is none."""
        people = self.snapshot().person_of
        found = people.get(str(person_id))
        if found is None and person_id in known_people(self.root):
            found = people.get(str(resolve(self.root, person_id)))
        if found is None:
            raise InputError("there is no such person", asked=person_id)
        return found

    def alike(self, person: PersonView, count: int) -> list[Alike]:
        """Return who may be the same person; see :meth:`Resemblance.alike`."""
        return self._resemblance.alike(person, self.snapshot(), count)

    # Changes.

    def merge(self, people: Sequence[int]) -> None:
        """Decide that some people are one. Raises as :func:`merge_people` does."""
        people = self._alive(people)
        with self._changing:
            merge_people(self.root, people, self._similarities())
            self._changed()

    def split(self, person: int, faces: Iterable[tuple[str, int]]) -> None:
        """Decide that some faces, as (clip id, face_id), are not this person. Raises as :func:`split_person` does."""
        named = [(self.clip(clip).name, face_id) for clip, face_id in faces]
        with self._changing:
            split_person(self.root, person, named, self._similarities())
            self._changed()

    def name(self, person: int, name: str) -> None:
        """Call a person so; an empty name takes it away. Raises as :func:`name_person` does."""
        if len(name) > 200:
            raise OptionError("the name is too long", found=f"{len(name)} characters; it takes 200")
        with self._changing:
            name_person(self.root, person, name, self._similarities())
            self._changed()

    def ignore(self, people: Sequence[int], *, ignored: bool) -> None:
        """Leave people out of lists, or take them back. Raises InputError for somebody whom no clip shows."""
        people = self._alive(people)
        with self._changing:
            (ignore_people if ignored else notice_people)(self.root, people, self._similarities())
            self._changed()

    def undoable(self) -> Undoable | None:
        """Return the correction that can be taken back."""
        return last_correction(self.root)

    def undo(self) -> Undoable:
        """Take the last correction back. Raises as :func:`undo_correction` does."""
        with self._changing:
            undone, _ = undo_correction(self.root, self._similarities())
            self._changed()
            return undone

    def delete_person(self, person: int) -> Erased:
        """Erase a person from everything that the program made. Raises as :func:`erase_person` does."""
        with self._changing:
            try:
                return erase_person(self.root, person, self.index)
            finally:
                self._changed()

    def delete_clip(self, clip_id: str) -> Erased:
        """Remove a clip's results, but not the clip. Raises as :func:`erase_clip` does."""
        clip = self.clip(clip_id)
        with self._changing:
            try:
                return erase_clip(self.root, clip.name, self.index)
            finally:
                self._changed()

    def search(
        self, photos: Sequence[bytes], *, face: int | None, clip_ids: Sequence[str], top: int, least: float | None
    ) -> Answer | Choice:
        """Search by photo; see :meth:`Finder.search`."""
        clips = [self.clip(clip).name for clip in clip_ids]
        return self.finder.search(photos, face=face, clips=clips, top=top, min_similarity=least)

    def next_options(self, request: RunRequest) -> Options:
        """Return the options that a run would have; see :func:`next_options`."""
        return next_options(self.root, self.snapshot().clips, self._options, self._given, request)

    def run(self, request: RunRequest) -> Job | Redo:
        """Have all clips processed, as ``facesearch run`` does, or return what would be done again unasked."""
        options, clips = self.next_options(request), self.snapshot().clips
        if not request.redo and not request.force:
            redo = to_redo(clips, options)
            if redo is not None:
                return redo
        arguments = ["run", "--input_directory", str(self.root), *flags_of(options)]
        return self.jobs.start("Find faces in all clips", arguments, clips=len(clips))

    def make_report(self) -> Job:
        """Have ``report.html`` written, as ``facesearch report`` does."""
        return self.jobs.start("Write report.html", ["report", str(self.root)])

    def _alive(self, people: Sequence[int]) -> list[int]:
        """Return the ids that people have now. Raises InputError for somebody whom no clip shows."""
        found = [self.person(person).person_id for person in people]
        return [person for person in found if person is not None]

    def _similarities(self) -> Similarities:
        with Tools(self._options) as tools:
            return similarities_of(self.root, tools)

    def _changed(self) -> None:
        self.library.changed()
        self.keeper.update()
