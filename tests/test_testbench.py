"""The generator of clips with known people, with the portraits that installed packages bring."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.testbench import LEAST_VISIBLE, Actor, Backdrop, Key, Portrait, Scene, film
from benchmarks.testbench_clips import KINDS, pan

WIDTH, HEIGHT = 320, 180


@pytest.fixture(scope="module")
def portraits() -> dict[str, list[Portrait]]:
    """Eileen Collins (NASA) and Grace Hopper (US Navy), both in the public domain."""
    data = pytest.importorskip("skimage.data")
    cbook = pytest.importorskip("matplotlib.cbook")
    astronaut = cv2.cvtColor(data.astronaut()[:300, 100:360], cv2.COLOR_RGB2BGR)
    with cbook.get_sample_data("grace_hopper.jpg", asfileobj=True) as file:
        hopper = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    faces = {"collins": (astronaut, (81, 58, 170, 178)), "hopper": (hopper, (175, 131, 357, 336))}
    return {name: [Portrait(name, image, box)] for name, (image, box) in faces.items()}


def grey(value: int) -> Backdrop:
    return Backdrop(np.full((HEIGHT, WIDTH, 3), value, np.uint8))


def actor(portrait: Portrait, *keys: tuple[float, float, float, float], **looks) -> Actor:
    return Actor(portrait, tuple(Key(*key) for key in keys), **looks)


def test_the_truth_is_where_the_face_is(portraits):
    moving = actor(portraits["collins"][0], (0, 80, 80, 60), (20, 240, 80, 60))
    shown = list(film([Scene(21, grey(90), (moving,), noise=0)], WIDTH, HEIGHT))
    assert [frame.frame_num for frame in shown] == list(range(21))
    face = portraits["collins"][0]
    x1, y1, x2, y2 = (round(value) for value in face.box)
    template = cv2.resize(
        face.image[y1:y2, x1:x2], (round(60 * (x2 - x1) / (y2 - y1)), 60), interpolation=cv2.INTER_AREA
    )
    for frame in shown[::5]:
        ((box, person),) = frame.faces
        assert person == "collins"
        match = cv2.matchTemplate(frame.image, template, cv2.TM_CCOEFF_NORMED)
        _, best, _, at = cv2.minMaxLoc(match)
        assert best > 0.9
        assert np.abs(np.array(at) - box[:2]).max() < 2


def test_a_hidden_face_is_not_in_the_truth(portraits):
    front = actor(portraits["hopper"][0], (0, 80, 80, 60), (40, 240, 80, 60), depth=0)
    behind = actor(portraits["collins"][0], (0, 160, 80, 60), (40, 160, 80, 60), depth=1)
    names = [
        {person for _, person in frame.faces} for frame in film([Scene(41, grey(90), (front, behind))], WIDTH, HEIGHT)
    ]
    assert names[0] == names[-1] == {"hopper", "collins"}
    assert names[20] == {"hopper"}


def test_a_face_that_leaves_is_in_the_truth_while_most_of_it_shows(portraits):
    leaving = actor(portraits["collins"][0], (0, 160, 80, 60), (30, 400, 80, 60))
    shown = list(film([Scene(31, grey(90), (leaving,))], WIDTH, HEIGHT))
    widths = [frame.faces[0][0][2] - frame.faces[0][0][0] if frame.faces else 0 for frame in shown]
    assert min(width for width in widths if width) >= LEAST_VISIBLE * max(widths) * 0.95
    assert widths[-1] == 0


def test_cuts_and_mixed_frames(portraits):
    scene = Scene(20, grey(40), (actor(portraits["collins"][0], (0, 160, 80, 60), (20, 160, 80, 60)),))
    other = replace(scene, backdrop=grey(200), enter="dissolve", enter_frames=10)
    shown = list(film([scene, scene, other], WIDTH, HEIGHT))
    assert [frame.scene for frame in shown] == [0] * 20 + [1] * 20 + [2] * 20
    assert [bool(frame.faces) for frame in shown[40:]] == [False] * 10 + [True] * 10
    corner = [float(frame.image[:20, :20].mean()) for frame in shown]
    assert np.allclose(corner[:40], 40, atol=2)
    assert np.allclose(corner[45], 120, atol=5)


def test_dimming_and_blur_show(portraits):
    plain = actor(portraits["collins"][0], (0, 160, 80, 90), (10, 160, 80, 90))
    changed = replace(plain, gain=(1.0, 0.4), blur=(0.0, 0.08))
    ends = [
        list(film([Scene(11, grey(90), (one,), noise=0)], WIDTH, HEIGHT))[-1].image[50:110, 130:190]
        for one in (plain, changed)
    ]
    assert ends[1].mean() < 0.6 * ends[0].mean()
    assert cv2.Laplacian(ends[1], cv2.CV_64F).std() < 0.4 * cv2.Laplacian(ends[0], cv2.CV_64F).std()


def test_twice_the_frame_rate_shows_the_same_moments(portraits):
    scenes = KINDS["street"](portraits, np.random.default_rng(1), WIDTH, HEIGHT, walkers=2, length=60)
    once, twice = (list(film(scenes, WIDTH, HEIGHT, rate=rate)) for rate in (1, 2))
    assert len(twice) == 2 * len(once)
    for one, other in zip(once, twice[::2], strict=True):
        assert one.faces == other.faces


def test_a_group_photo_carries_its_people_along():
    photo = Backdrop(
        np.random.default_rng(0).integers(0, 255, (400, 1200, 3), dtype=np.uint8), (("ann", (500, 150, 560, 220)),)
    )
    shown = list(film(pan([photo], np.random.default_rng(0), WIDTH, HEIGHT, length=20), WIDTH, HEIGHT))
    boxes = [frame.faces[0][0] for frame in shown if frame.faces]
    assert 0 < len(boxes) <= len(shown)
    assert len({round(box[0]) for box in boxes}) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_clip_is_the_same_again(portraits, kind):
    people = {
        f"{name} {number}": [replace(one, person=f"{name} {number}")]
        for number in range(3)
        for name, (one,) in portraits.items()
    }
    runs = []
    for _ in range(2):
        scenes = KINDS[kind](people, np.random.default_rng(5), WIDTH, HEIGHT)
        frames = list(film(scenes, WIDTH, HEIGHT, rate=0.05, seed=5))
        runs.append(frames)
    assert sum(len(frame.faces) for frame in runs[0]) > 5
    for one, other in zip(*runs, strict=True):
        assert one.faces == other.faces
        assert np.array_equal(one.image, other.image)
        assert all(0 <= x1 < x2 <= WIDTH and 0 <= y1 < y2 <= HEIGHT for (x1, y1, x2, y2), _ in one.faces)
        people_here = [person for _, person in one.faces]
        assert len(set(people_here)) == len(people_here)
