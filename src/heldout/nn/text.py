"""`TextNetwork`: words in, logits of classes out. Embedding, LSTM, pooling, dense head."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from heldout.nn.masks import drop, keep
from heldout.nn.networks import Output, recurrent_layer
from heldout.nn.pooling import pool
from heldout.text_recipe import TextRecipe

PAD = 0
"""The number of what fills a batch up; its vector is zero and stays so."""

# Axes: B texts, T words, E numbers of a word vector, D of a state, Q classes.


class TextNetwork(nn.Module):
    """An LSTM over word vectors, pooled in one way or several, then dense layers to the logits of the classes.

    Parameters
    ----------
    n_words : int
        Words of the vocabulary, padding and the unknown word among them.
    n_classes : int
        Q.
    recipe : TextRecipe
        Sizes and rates, `TextRecipe.resolved`.
    vectors : Tensor of shape (n_words, E), optional
        Vectors to start from.
    generator : torch.Generator, optional
        Draws the starting weights.

    Notes
    -----
    The output is ``gain * linear + share * head(pool(LSTM(embed(words))))``, where ``linear`` are the logits of a linear
    model of the same text. With ``shortcut="residual"`` gain is trained with the rest and share is 1; the output layer
    starts at zero, so an untrained network says what the linear model says. With "tfidf" the network is trained alone,
    and both numbers are set afterwards.

    Examples
    --------
    >>> network = TextNetwork(50, 3, TextRecipe(hidden_size=8, shortcut="none").resolved())
    >>> network(torch.tensor([[4, 7, 2], [9, 0, 0]]), lengths=torch.tensor([3, 1])).forecast.shape
    torch.Size([2, 1, 1, 3])
    """

    def __init__(
        self,
        n_words: int,
        n_classes: int,
        recipe: TextRecipe,
        *,
        vectors: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.pooling = recipe.pooling
        self.embedding_dropout = recipe.embedding_dropout or 0.0
        self.dense_dropout = recipe.dense_dropout or 0.0
        self.embedding = nn.Embedding(n_words, recipe.embedding_size, sparse=True)
        self.embedding.weight.requires_grad_(recipe.embedding_lr != 0)
        self.lstm = recurrent_layer(recipe.embedding_size, recipe)
        width = recipe.hidden_size * (2 if recipe.bidirectional else 1)
        self.attention = nn.Linear(width, 1) if "attention" in recipe.pooling else None
        sizes = [width * len(recipe.pooling), *recipe.dense]
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], n_classes)
        self.share: Tensor
        self.register_buffer("share", torch.ones(()))
        self.gain: Tensor | None
        if recipe.shortcut == "residual":
            self.gain = nn.Parameter(torch.ones(()))
        else:
            self.register_buffer("gain", torch.zeros(()) if recipe.shortcut == "tfidf" else None)
        self.reset_parameters(vectors, generator)

    @torch.no_grad()
    def reset_parameters(
        self, vectors: Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        """Draw the starting weights; the output layer starts at zero, words without given vectors near it."""
        self.lstm.reset_parameters(generator)
        for module in [self.attention, *self.dense]:
            if module is not None:
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if isinstance(self.gain, nn.Parameter):
            nn.init.ones_(self.gain)
        if vectors is None:
            self.embedding.weight.uniform_(-0.25, 0.25, generator=generator)  # as Kim 2014, arXiv 1408.5882
        else:
            self.embedding.weight.copy_(vectors)
        self.embedding.weight[PAD] = 0.0

    def embed(self, words: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the vectors of words (B, T) as (B, T, E); in training whole words of the vocabulary are dropped."""
        vectors = embedding(words, self.embedding.weight, padding_idx=PAD, sparse=True)
        if self.training and self.embedding_dropout:
            words_kept = (self.embedding.num_embeddings,)
            kept = keep(self.embedding_dropout, words_kept, vectors, generator, batch=None)
            vectors = vectors * kept[words][:, :, None]
        return vectors

    def forward(
        self,
        x: Tensor,
        *,
        future: Tensor | None = None,  # noqa: ARG002 - the call is that of every network
        static: Tensor | None = None,
        lengths: Tensor | None = None,
        mix: tuple[Tensor, Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Output:
        """Give logits.

        Parameters
        ----------
        x : Tensor of shape (B, T), int64
            Numbers of words, padded at the end with 0.
        future : None
            Texts have none.
        static : Tensor of shape (B, Q), optional
            Logits of the linear model.
        lengths : Tensor of shape (B,), optional
            Words of each text.
        mix : Tensors of shape (B,), int64 and float, optional
            Mixup: for each text the place in the batch of another, and its own share of the mixture of both.
        generator : torch.Generator, optional
            Draws the masks in training.

        Returns
        -------
        Output
            ``forecast`` of shape (B, 1, 1, Q), ``states`` of shape (B, T, D).
        """
        vectors = self.embed(x, generator)
        if mix is not None:
            other, share = mix
            vectors = share[:, None, None] * vectors + (1 - share)[:, None, None] * vectors[other]
            if lengths is not None:
                lengths = torch.maximum(lengths, lengths[other])
            if static is not None:
                static = share[:, None] * static + (1 - share)[:, None] * static[other]
        return self.read(vectors, static=static, lengths=lengths, generator=generator)

    def read(
        self,
        vectors: Tensor,
        *,
        static: Tensor | None = None,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Output:
        """Do as `forward` does from the vectors (B, T, E) of the words on."""
        states, _ = self.lstm(vectors, lengths=lengths, generator=generator)
        halves = self.lstm.bidirectional
        pooled = [pool(states, lengths, way, attention=self.attention, halves=halves) for way in self.pooling]
        hidden = pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=1)
        rate = self.dense_dropout if self.training else 0.0
        for layer in self.dense:
            hidden = layer(drop(hidden, rate, hidden.shape, generator)).relu()
        out = self.share * self.head(drop(hidden, rate, hidden.shape, generator))
        if self.gain is not None and static is not None:
            out = out + self.gain * static
        return Output(out[:, None, None], states)
