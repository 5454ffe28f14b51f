"""A vocabulary learned a block at a time is that of all texts at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.text import Vocabulary
from heldout.data.word_counts import learn_in_blocks

WORDS = st.lists(
    st.sampled_from(["a", "b", "Film", "film", "don't", "é", "ﬁ", "…", "!!", "word"]), max_size=8
)
BLOCKS = st.lists(st.lists(WORDS.map(" ".join), max_size=5), max_size=5)


@settings(deadline=None, max_examples=150)
@given(
    blocks=BLOCKS,
    lower=st.booleans(),
    min_count=st.integers(1, 3),
    max_size=st.integers(3, 9),
    most=st.sampled_from([0, 3, 10**6]),
)
def test_it_is_the_vocabulary_of_all_texts(blocks, lower, min_count, max_size, most, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    how = {"lower": lower, "min_count": min_count, "max_size": max_size}
    texts = [text for block in blocks for text in block]
    try:
        wanted = Vocabulary.learn(texts, **how)
    except InputError:
        with pytest.raises(InputError, match=f"must hold a word {min_count} times or more"):
            learn_in_blocks(blocks, folder, **how, most_words=most)
    else:
        assert learn_in_blocks(blocks, folder, **how, most_words=most) == wanted
    assert not list(folder.iterdir())


def test_counts_in_files_are_removed_when_it_is_interrupted(tmp_path):
    def blocks():
        yield ["one two three four"]
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_in_blocks(blocks(), tmp_path, most_words=1)
    assert not list(tmp_path.iterdir())
