"""`TextRecipe`: every hyper-parameter of a fit of texts."""

from dataclasses import dataclass
from typing import Any

from heldout.base_recipe import BaseRecipe, rate
from heldout.check import InputError
from heldout.options import another_default, documented, option

WAYS = ("alpha_sr", "alpha_ri", "alpha_rs", "p_rd", "alpha_nn", "alpha_aeda", "p_unk")
"""Options whose rate switches on a way of drawing variants."""


def _share(doc: str, *, whole: bool) -> Any:
    """Declare how much of a text a way of augmenting it changes."""
    return option(0.0, f"{doc} 0 turns it off.", low=0, high=1, open_high=not whole)


@documented(
    "Every hyper-parameter of a fit of texts; those left at None are set by the dial.",
    ">>> TextRecipe(hidden_size=32, regularization=2).resolved().embedding_dropout\n0.2",
)
@dataclass(frozen=True, kw_only=True)
class TextRecipe(BaseRecipe):  # noqa: D101 - written by `documented`
    # --- what the model sees
    lower: bool = option(True, "Read capitals as small letters.")
    min_count: int = option(
        2, "Words that the training texts hold less often are one unknown word; more overfits less.", low=1
    )
    max_vocabulary: int = option(30_000, "Words that the network knows, at most.", low=3)
    max_length: int | None = option(
        256, "Words of a text that are read, from its start; None reads all.", low=1
    )
    # --- the network
    embedding_size: int = option(
        100,
        "Numbers that stand for a word; longer vectors of a file are cut down to it by PCA.",
        low=1,
        high=4096,
    )
    vectors: str | None = option(
        None, "File of word vectors (GloVe, word2vec, fastText, gzip too, or what `heldout vectors` wrote)."
    )
    vectors_words: int = option(
        20_000,
        "First words of that file that are known even where the training texts do not hold them.",
        low=0,
    )
    whiten: bool = option(False, "Give all directions of the vectors of a file one variance.")
    embedding_lr: float | None = option(
        None, "Learning rate of the word vectors at the start; None takes lr, 0 freezes them.", low=0, high=10
    )
    pooling: tuple[str, ...] = option(
        ("mean", "max"),
        "How the states over a text become one vector; several are joined.",
        choices=("last", "mean", "max", "attention"),
    )
    shortcut: str = option(
        "tfidf",
        "A linear model of word and word-pair counts: 'tfidf' fits it beside the network, the validation texts weigh both; with 'residual' it is fitted first and the network learns what it misses.",
        choices=("none", "tfidf", "residual"),
    )
    class_weight: str = option(
        "none", "'balanced' lets each class count the same in the loss.", choices=("none", "balanced")
    )
    hidden_size: int = another_default(BaseRecipe, "hidden_size", 64)
    bidirectional: bool = option(True, "Read the text in both directions.")
    # --- against overfitting
    embedding_dropout: float | None = rate(
        "Words of the vocabulary dropped for a batch, wherever they stand.", 0.1
    )
    rare: float = option(
        0.25,
        "A word that the training texts hold n times is read as unknown with probability rare / (rare + n), so that the unknown word is trained.",
        low=0,
    )
    input_dropout: float | None = rate("Parts of the word vectors dropped for a whole text.", 0.2)
    recurrent_dropout: float | None = rate(
        "Recurrent units dropped for a whole text (Gal & Ghahramani).", 0.1
    )
    output_dropout: float | None = rate("Outputs of each LSTM layer dropped for a whole text.", 0.3)
    dense_dropout: float | None = rate("Dropped before each dense layer and before the output.", 0.3)
    # --- augmentation of the training texts, drawn afresh for every epoch
    alpha_sr: float = _share("Share of words replaced by synonyms (EDA).", whole=True)
    alpha_ri: float = _share("Share of words by which synonyms of others are inserted (EDA).", whole=True)
    alpha_rs: float = _share("Share of words swapped (EDA).", whole=True)
    p_rd: float = _share("Probability of deleting a word (EDA).", whole=False)
    alpha_nn: float = _share("Share of words replaced by neighbours in the vectors.", whole=True)
    alpha_aeda: float = _share(
        "Largest share of words that get a punctuation mark before them (AEDA).", whole=True
    )
    p_unk: float = _share("Probability of reading a word as unknown.", whole=False)
    n_aug: int = option(2, "Variants of a text in an epoch, at most.", low=1, high=100)
    min_original: float = option(
        0.3, "Least share of an epoch's texts that are as they were.", low=0, high=1, open_high=True
    )
    synonyms: str | None = option(
        None, "Folder of WordNet's dictionary files; None takes that of Debian's wordnet-base."
    )
    back_translation: str | None = option(
        None,
        "Add each training text, translated there and back, as a variant: 'apertium:eng-spa', or 'marian:' and two models.",
    )
    mixup: float = option(
        0.0,
        "Alpha of mixup of texts (Beta distribution) after the embedding, usually .2; 0 turns it off.",
        low=0,
        high=10,
    )
    # --- reading before judging
    pretrain_epochs: int = option(0, "Epochs of next-word prediction before the fit; 0 turns it off.", low=0)
    pretrain_texts: str | None = option(
        None, "File of unlabelled texts for it, one per line; None takes the training texts."
    )
    # --- training
    loss: str = option("cross_entropy", "What is minimised.", choices=("cross_entropy",))
    lr: float = another_default(BaseRecipe, "lr", 2e-3)
    batch_size: int = another_default(BaseRecipe, "batch_size", 32)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pooling or len(set(self.pooling)) != len(self.pooling):
            raise InputError(f"pooling must name one way or several different ones, got {self.pooling}")
        if self.alpha_nn and self.vectors is None and not self.pretrain_epochs:
            raise InputError(
                "alpha_nn takes the neighbours of words in vectors, but the recipe has none: set vectors= or pretrain_epochs=, or use alpha_aeda"
            )

    @property
    def augments(self) -> bool:
        """Whether variants of the training texts are drawn."""
        return self.back_translation is not None or any(getattr(self, name) for name in WAYS)

    def files(self) -> dict[str, str]:
        """Give the files that the recipe names, by the name of the option."""
        named = {"vectors": self.vectors, "pretrain_texts": self.pretrain_texts, "synonyms": self.synonyms}
        return {name: path for name, path in named.items() if path is not None}
