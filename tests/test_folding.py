"""Folding of repeated names into patterns."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from paramlint.folding import expand, fold


def patterns(names: list[str]) -> list[str]:
    return [f.pattern for f in fold(names)]


def test_one_index() -> None:
    (folded,) = fold([f"h.{i}.attn.c_attn.weight" for i in range(48)])
    assert folded.pattern == "h.{0..47}.attn.c_attn.weight"
    assert len(folded) == 48
    assert folded.names[0] == "h.0.attn.c_attn.weight"


def test_a_name_alone_stays_as_it_is() -> None:
    assert patterns(["stages.2.blocks.7.weight", "head.weight"]) == ["stages.2.blocks.7.weight", "head.weight"]


def test_sets_with_gaps_and_pairs() -> None:
    assert patterns([f"h.{i}.w" for i in (0, 2, 5, 6, 7)]) == ["h.{0,2,5..7}.w"]
    assert patterns(["h.3.w", "h.4.w"]) == ["h.{3,4}.w"]


def test_several_positions() -> None:
    full = [f"layers.{i}.experts.{j}.w" for i in range(3) for j in range(8)]
    assert patterns(full) == ["layers.{0..2}.experts.{0..7}.w"]
    stages = [f"stages.{s}.blocks.{b}.w" for s, depth in enumerate((3, 3, 27, 3)) for b in range(depth)]
    assert patterns(stages) == ["stages.{0,1,3}.blocks.{0..2}.w", "stages.2.blocks.{0..26}.w"]


def test_order_is_that_of_the_first_name() -> None:
    assert patterns(["b.0", "a.0", "b.1", "c"]) == ["b.{0,1}", "a.0", "c"]


def test_a_key_keeps_rows_apart() -> None:
    rows = [(f"h.{i}.w", i == 3) for i in range(5)]
    assert [f.pattern for f in fold(rows, name=lambda r: r[0], key=lambda r: r[1])] == ["h.{0..2,4}.w", "h.3.w"]


def test_leading_zeros_are_not_indices() -> None:
    assert patterns(["block.00.w", "block.01.w"]) == ["block.00.w", "block.01.w"]


def test_a_segment_that_counts_to_three_or_more_folds_too() -> None:
    experts = [f"mlp.experts.expert_{i}.wi.weight" for i in range(8)]
    assert patterns(experts) == ["mlp.experts.expert_{0..7}.wi.weight"]
    # two are two different things
    assert patterns(["h.0.ln_1.weight", "h.0.ln_2.weight"]) == ["h.0.ln_1.weight", "h.0.ln_2.weight"]


def test_a_pattern_without_sets_expands_to_itself() -> None:
    assert expand("head.weight") == ["head.weight"]


counted = st.builds("{}_{}".format, st.sampled_from(["expert", "", "a_b"]), st.integers(0, 5))
segments = st.one_of(st.integers(0, 12).map(str), counted, st.sampled_from(["h", "attn", "weight", "w1", "01", ""]))
names = st.lists(st.lists(segments, min_size=1, max_size=5).map(".".join), unique=True, max_size=40)


@given(names)
def test_expanding_gives_back_exactly_the_names(given_names: list[str]) -> None:
    folded = fold(given_names)
    assert sorted(n for f in folded for n in expand(f.pattern)) == sorted(given_names)
    assert sorted(n for f in folded for n in f.names) == sorted(given_names)
    assert [f.names[0] for f in folded] == sorted((f.names[0] for f in folded), key=given_names.index)


def test_a_large_model_folds_at_once() -> None:
    kinds = [f"part{k}.weight" for k in range(9)]
    large = [f"model.layers.{i}.{kind}" for i in range(126) for kind in kinds] + ["embed", "norm", "head"]
    best = 1.0
    for _ in range(3):
        start = time.perf_counter()
        folded = fold(large)
        best = min(best, time.perf_counter() - start)
    assert len(large) == 1137
    assert len(folded) == 12
    assert best < 0.02
