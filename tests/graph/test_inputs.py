from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from facesearch_trt.errors import InputError
from facesearch_trt.graph.inputs import absolute_path, find_clips, images_of, natural_key


def make(root: Path, *names: str) -> Path:
    """Make empty files, and directories for names that end in a slash."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.touch()
    return root


def test_finds_videos_and_image_folders_in_natural_order(tmp_path: Path) -> None:
    make(tmp_path, "b10.mp4", "b9.MKV", "a/1.jpg", "c.WebM", "notes.txt", "no_images/x.txt", "old.pipeline/frame_0.png")
    make(tmp_path, ".hidden.mp4", ".cache/1.jpg", "hidden_only/.1.jpg")
    clips = find_clips(tmp_path)
    assert [clip.name for clip in clips] == ["a", "b9", "b10", "c"]
    assert [clip.kind for clip in clips] == ["images", "video", "video", "video"]
    assert [clip.source for clip in clips] == [tmp_path / name for name in ("a", "b9.MKV", "b10.mp4", "c.WebM")]
    assert clips[1].output == tmp_path / "b9.pipeline"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".ts", ".MTS", ".m2ts"])
def test_takes_one_video(tmp_path: Path, suffix: str) -> None:
    make(tmp_path, f"one{suffix}", "two.mp4")
    (clip,) = find_clips(tmp_path / f"one{suffix}")
    assert (clip.name, clip.kind, clip.output) == ("one", "video", tmp_path / "one.pipeline")


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".PNG", ".bmp", ".webp"])
def test_takes_one_image_folder_and_writes_beside_it(tmp_path: Path, suffix: str) -> None:
    make(tmp_path, f"party/1{suffix}", "party/notes/x.txt")
    (clip,) = find_clips(tmp_path / "party")
    assert (clip.name, clip.kind, clip.source) == ("party", "images", tmp_path / "party")
    assert clip.output == tmp_path / "party.pipeline"


def test_the_current_directory_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(tmp_path / "party", "1.png"))
    (clip,) = find_clips(Path())
    assert (clip.name, clip.output) == ("party", tmp_path / "party.pipeline")


def test_a_path_may_go_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "root/a.mp4", "elsewhere/deep/")
    monkeypatch.chdir(tmp_path / "elsewhere")
    (clip,) = find_clips(Path("../root"))
    assert (clip.source, clip.output) == (tmp_path / "root" / "a.mp4", tmp_path / "root" / "a.pipeline")
    # Behind a link ".." is above what the link leads to.
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "elsewhere" / "b.mp4").touch()
    (clip,) = find_clips(tmp_path / "root" / "link" / "..")
    assert clip.source == tmp_path / "elsewhere" / "b.mp4"


def test_a_root_that_is_a_link_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "root/a.mp4", "elsewhere/")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    monkeypatch.chdir(tmp_path / "elsewhere")
    for path in (Path("../link"), tmp_path / "link"):
        assert absolute_path(path) == tmp_path / "link"
        assert find_clips(path)[0].output == tmp_path / "link" / "a.pipeline"


def test_takes_results_with_the_clip_beside_them(tmp_path: Path) -> None:
    make(tmp_path, "one.mp4", "one.pipeline/", "two/1.jpg", "two.pipeline/", "three.pipeline/", "three/x.txt")
    (one,) = find_clips(tmp_path / "one.pipeline")
    (two,) = find_clips(tmp_path / "two.pipeline")
    (three,) = find_clips(tmp_path / "three.pipeline")
    assert one == find_clips(tmp_path / "one.mp4")[0]
    assert (two.kind, two.source) == ("images", tmp_path / "two")
    assert (three.name, three.source, three.output) == ("three", None, tmp_path / "three.pipeline")


@pytest.mark.parametrize("names", [("a.mp4", "a.mkv"), ("a.mp4", "a/1.jpg"), ("a.mp4", "a.MP4")])
def test_two_clips_with_the_same_results_are_an_error_that_names_both(tmp_path: Path, names: tuple[str, str]) -> None:
    make(tmp_path, *names, "other.mp4", "a.pipeline/")
    for path in (tmp_path, tmp_path / "a.pipeline"):
        with pytest.raises(InputError) as caught:
            find_clips(path)
        message = str(caught.value)
        assert str(tmp_path / names[0]) in message
        assert str(tmp_path / names[1].split("/")[0]) in message
        assert "a.pipeline" in message
        assert "Rename" in message


def test_same_name_without_images_is_no_conflict(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a/notes.txt")
    assert [clip.name for clip in find_clips(tmp_path)] == ["a"]


@pytest.mark.parametrize("names", [("v.mp4", "loose.jpg"), ("folder/1.jpg", "loose.jpg")])
def test_loose_images_beside_clips_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: tuple[str, str]
) -> None:
    make(tmp_path, *names)
    with caplog.at_level(logging.WARNING):
        assert len(find_clips(tmp_path)) == 1
    assert str(tmp_path) in caplog.text


def test_videos_in_a_folder_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "v.mp4", "camera/1.mp4", "camera/2.mp4", "notes/a.txt", "exports/v.blurred.mp4")
    with caplog.at_level(logging.WARNING):
        assert [clip.name for clip in find_clips(tmp_path)] == ["v"]
    assert f"{tmp_path / 'camera'}: its videos are not used" in caplog.text
    assert "exports" not in caplog.text
    assert "notes" not in caplog.text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", ("absent", "does not exist")),
        ("empty/", ("empty", "holds no clip", ".mp4", "Put videos")),
        ("notes.txt", ("notes.txt", "not a video", ".mp4")),
        ("notes.txt/inside", ("inside", "does not exist")),
        ("x" * 300, ("x" * 300, "cannot be used", "File name too long")),
        ("one.jpg", ("one.jpg", "Give the directory")),
    ],
)
def test_unusable_paths_say_what_to_do(tmp_path: Path, name: str, words: tuple[str, ...]) -> None:
    if len(name) < 20 and name != "absent":
        make(tmp_path, name.removesuffix("/inside"))
    with pytest.raises(InputError) as caught:
        find_clips(tmp_path / name)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_links_and_pipes_are_not_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "good.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe.mp4")
    with caplog.at_level(logging.WARNING):
        assert [clip.name for clip in find_clips(tmp_path)] == ["good"]
    assert "link.mp4" in caplog.text
    assert "pipe.mp4" in caplog.text
    with pytest.raises(InputError, match="regular file"):
        find_clips(tmp_path / "pipe.mp4")


def test_entries_that_cannot_be_followed_cost_nothing_but_themselves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "good.mp4", "photos/1.png", "good.pipeline/")
    for name in ("loop", "loop.mp4", "photos/loop.png", "good"):
        (tmp_path / name).symlink_to(Path(name).name)
    with caplog.at_level(logging.WARNING):
        assert [clip.name for clip in find_clips(tmp_path)] == ["good", "photos"]
    for name in ("loop", "loop.mp4"):
        assert f"{tmp_path / name}: cannot be followed (Too many levels of symbolic links); not used" in caplog.messages
    assert images_of(tmp_path / "photos") == [tmp_path / "photos" / "1.png"]
    assert find_clips(tmp_path / "good.pipeline")[0].source == tmp_path / "good.mp4"
    with pytest.raises(InputError, match=r"loop: cannot be used .*Too many levels"):
        find_clips(tmp_path / "loop")


def test_only_regular_files_are_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "v.mp4", "folders/x.png/", "broken/", "photos/a.png", "photos/b.png/", "loose.png/")
    (tmp_path / "broken" / "1.png").symlink_to("absent")
    os.mkfifo(tmp_path / "photos" / "c.png")
    os.mkfifo(tmp_path / "pipe.png")
    with caplog.at_level(logging.WARNING):
        assert [clip.name for clip in find_clips(tmp_path)] == ["photos", "v"]
    assert f"{tmp_path / 'broken'}: its images are broken links or no regular files; not used" in caplog.messages
    assert f"{tmp_path / 'pipe.png'}: is a broken link or no regular file; not used" in caplog.messages
    assert not any("folders" in message or "loose" in message for message in caplog.messages)
    left_out: list[str] = []
    assert images_of(tmp_path / "photos", left_out) == [tmp_path / "photos" / "a.png"]
    assert left_out == ["c.png"]


def test_links_to_videos_keep_their_own_name(tmp_path: Path) -> None:
    make(tmp_path, "store/original.mp4", "root/")
    (tmp_path / "root" / "named.mp4").symlink_to(tmp_path / "store" / "original.mp4")
    (clip,) = find_clips(tmp_path / "root")
    assert (clip.name, clip.output) == ("named", tmp_path / "root" / "named.pipeline")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_directory_is_an_error(tmp_path: Path) -> None:
    root = make(tmp_path / "root", "a.mp4")
    root.chmod(0)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            find_clips(root)
    finally:
        root.chmod(0o700)


def test_an_image_folder_whose_results_cannot_lie_beside_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = make(tmp_path / "data", "1.png")
    # As in a container, where this directory alone is mounted.
    monkeypatch.setattr(Path, "is_mount", lambda path: path == root)
    with caplog.at_level(logging.WARNING):
        assert find_clips(root)[0].output == tmp_path / "data.pipeline"
    assert f"go to {tmp_path / 'data.pipeline'}, outside what is mounted there" in caplog.text
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(InputError) as caught:
        find_clips(root)
    for word in (f"{root}: ", f"{tmp_path / 'data.pipeline'}, which cannot be written", "sub-directory"):
        assert word in str(caught.value)
    (tmp_path / "data.pipeline").mkdir()
    assert find_clips(root)[0].output == tmp_path / "data.pipeline"


def test_looks_into_each_folder_only_until_its_first_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"folder/{number}.jpg" for number in range(50)))
    looked_at = 0
    scandir = os.scandir

    class Counting:
        def __init__(self, path: Path) -> None:
            self._entries = scandir(path)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self._entries.close()

        def __iter__(self) -> Counting:
            return self

        def __next__(self) -> os.DirEntry[str]:
            nonlocal looked_at
            looked_at += 1
            return next(self._entries)

    monkeypatch.setattr(os, "scandir", Counting)
    assert len(find_clips(tmp_path)) == 1
    assert looked_at <= 3


def test_natural_order() -> None:
    names = ["b", "a10", "a2", "A1", "a02", "10", "9", "", "a", "a2b", "²"]
    assert sorted(names, key=natural_key) == ["", "9", "10", "a", "A1", "a02", "a2", "a2b", "a10", "b", "²"]


def test_results_without_a_clip_are_clips_where_they_are_asked_for(tmp_path: Path) -> None:
    for name in ("a.pipeline", "b.pipeline"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="holds no clip"):
        find_clips(tmp_path)
    (tmp_path / "b.mp4").touch()
    one, two = find_clips(tmp_path, results_alone=True)
    assert (one.name, one.source, one.output) == ("a", None, tmp_path / "a.pipeline")
    assert (two.name, two.source) == ("b", tmp_path / "b.mp4")
    assert find_clips(tmp_path) == [two]
