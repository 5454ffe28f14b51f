"""Texts looked up among some others are near where `near_duplicates` says so, and none is missed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.near_texts import NearTexts, near_duplicates

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=9).map(" ".join)


@settings(deadline=None, max_examples=300)
@given(known=st.lists(WORDS, max_size=4), text=WORDS, threshold=st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_a_text_is_near_to_some_if_and_only_if_it_is_near_to_one_of_them(known, text, threshold):
    pairs = [near_duplicates([one, text], threshold=threshold).tolist() == [0, 0] for one in known]
    assert NearTexts(known, threshold).near(text) == any(pairs)


def test_a_threshold_beyond_one_is_refused():
    with pytest.raises(InputError, match="threshold"):
        NearTexts([], 1.5)
