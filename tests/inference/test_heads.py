"""Outputs put back in place from the cells that were gathered."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.heads import HeadGroup, cells_of, channels_of, dense_outputs, head_groups


@pytest.mark.parametrize("channels_last", [False, True])
def test_gathered_cells_come_back_to_their_places(channels_last: bool) -> None:
    random = np.random.default_rng(0)
    group = HeadGroup(("score",), ("box",), channels_last)
    shapes = (
        {"box": (2, 4, 3, 5), "score": (2, 1, 3, 5)} if not channels_last else {"box": (2, 15, 4), "score": (2, 15, 1)}
    )
    whole = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    assert cells_of(group, shapes) == 15 and channels_of(group, shapes) == [1, 4]
    cells = np.array([14, 0, 7])

    def by_cell(name: str) -> np.ndarray:
        one = whole[name][1]
        return one if channels_last else one.reshape(one.shape[0], -1).T

    rows = np.concatenate([by_cell(name)[cells] for name in group.names], axis=1)
    dense = dense_outputs(shapes, {group: (cells, rows)})
    assert list(dense) == ["box", "score"]
    for name, array in dense.items():
        assert array.shape == (1, *shapes[name][1:])
        got = array[0] if channels_last else array[0].reshape(array.shape[1], -1).T
        np.testing.assert_array_equal(got[cells], by_cell(name)[cells])
        others = np.setdiff1d(np.arange(15), cells)
        assert not got[others].any()


def test_no_cell_of_the_threshold_is_lost() -> None:
    """Whatever the rounding: a score of exactly the threshold passes, one clearly below does not."""
    for group in head_groups("centerface", ["a", "b", "c", "d"]) + head_groups("yunet", []):
        for threshold in (0.3, 0.5, 0.6, 0.7, 0.9):
            score = np.float32(threshold)
            product = np.float32(1)
            for _ in group.scores:
                product *= score
            assert product >= np.float32(group.least_product(threshold))
            assert np.float32((threshold - 0.001) ** len(group.scores)) < group.least_product(threshold)


def test_groups_name_every_output_once() -> None:
    names = [f"{head}_{stride}" for head in ("score", "box", "points") for stride in (8, 16, 32)]
    for decoder, outputs in (("centerface", ["h", "s", "o", "l"]), ("scrfd", names)):
        grouped = [name for group in head_groups(decoder, outputs) for name in group.names]
        assert sorted(grouped) == sorted(outputs)
    assert head_groups("scrfd", names)[1] == HeadGroup(("score_16",), ("box_16", "points_16"), True)
    with pytest.raises(EngineError, match="no such detector head"):
        head_groups("ssd", names)
