from __future__ import annotations

from facesearch_trt.search import policy


def test_exact_up_to_a_hundred_thousand() -> None:
    assert not policy.approximate(99_999, 512)
    assert policy.approximate(100_000, 512)
    assert not policy.approximate(1_000_000, 509), "codes are packed by eight"


def test_every_partition_is_probed_up_to_two_million_rows() -> None:
    assert policy.probes(2_000_000) > policy.partitions(2_000_000)
    assert 0 < policy.probes(20_000_000) < policy.partitions(20_000_000) / 5


def test_merging_ten_thousand_commits_copies_a_few_times_what_there_is() -> None:
    rows_per_commit, rows, merged, small, copied, most = 25, 0, 0, 0, 0, 0
    for _ in range(10_000):
        rows, small = rows + rows_per_commit, small + 1
        most = max(most, small)
        if policy.due_for_compaction(small, rows - merged, rows):
            copied, merged, small = copied + rows, rows, 0
    assert most <= 512
    assert copied < 12 * rows
