"""`pretrain`: the network reads texts and guesses the next word before it is asked for classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heldout.check import InputError
from heldout.data.text import PAD, Tokens, Vocabulary
from heldout.data.token_batches import batches
from heldout.nn.lstm import LSTM
from heldout.nn.text import TextNetwork
from heldout.text_recipe import TextRecipe
from heldout.training.loop import Report
from heldout.training.optimizers import clip_gradients, make_optimizers
from heldout.training.shared import Parts, Shared, key_of

_CANDIDATES = 2000  # words that compete with the right ones of a batch, at most
_HELD = 0.1  # share of the texts on which the guesses are measured


def read_corpus(recipe: TextRecipe) -> list[str]:
    """Give the unlabelled texts of a recipe, one per line of its file; none without a file.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if recipe.pretrain_texts is None or not recipe.pretrain_epochs:
        return []
    try:
        lines = Path(recipe.pretrain_texts).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"pretrain_texts must be a UTF-8 file with a text per line, but {recipe.pretrain_texts} cannot be read: {error}"
        ) from error
    return [line for line in lines if line.strip()]


class Reader(nn.Module):
    """The embedding and the LSTM of a network, with what guesses words from the states.

    Parameters
    ----------
    network : TextNetwork
        Its weights are shared. Of several bidirectional layers only the first is: what stands above it has seen the
        words that are to be guessed.
    n_words : int
        Of the vocabulary.

    Notes
    -----
    The state after word t guesses word t + 1; the one of the direction that reads from the end guesses word t - 1. The
    scores are products with the word vectors, as in Press & Wolf 2017 (arXiv 1608.05859).
    """

    def __init__(self, network: TextNetwork, n_words: int, generator: torch.Generator) -> None:
        super().__init__()
        self.network = network
        size = network.embedding.embedding_dim
        self.halves = 2 if network.lstm.bidirectional else 1
        self.lstm = (
            network.lstm if network.lstm.num_layers == 1 or self.halves == 1 else _first_layer(network.lstm)
        )
        self.project = nn.Linear(network.lstm.hidden_size, size)
        nn.init.xavier_uniform_(self.project.weight, generator=generator)
        nn.init.zeros_(self.project.bias)  # torch drew it from its own generator
        self.bias = nn.Parameter(torch.zeros(n_words))

    def forward(
        self,
        words: Tensor,
        lengths: Tensor,
        candidates: Tensor,
        surplus: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Give the mean cross-entropy of the guesses among some candidates, the right words among them.

        Parameters
        ----------
        words, lengths : Tensors of shape (B, T) and (B,)
            Texts.
        candidates : Tensor of shape (C,), int64
            Different words, rising, with every word of the batch.
        surplus : Tensor of shape (C,)
            Logarithm of how often each is a candidate; taken from its score (sampled softmax, Jean et al. 2015,
            arXiv 1412.2007).
        generator : torch.Generator or None
            Draws masks in training.
        """
        states, _ = self.lstm(self.network.embed(words, generator), lengths=lengths, generator=generator)
        inside = torch.arange(words.shape[1]) < lengths[:, None]
        table = self.network.embedding(candidates)
        bias = self.bias[candidates] - surplus
        guesses, right = [], []
        for half, state in enumerate(states.chunk(self.halves, dim=2)):
            seen, asked = (state[:, :-1], words[:, 1:]) if half == 0 else (state[:, 1:], words[:, :-1])
            known = inside[:, 1:]
            guesses.append(self.project(seen[known]) @ table.T + bias)
            right.append(torch.searchsorted(candidates, asked[known]))
        return cross_entropy(torch.cat(guesses), torch.cat(right))


def _first_layer(lstm: LSTM) -> LSTM:
    """A layer of its own that shares the weights of the first."""
    first = LSTM(
        lstm.input_size,
        lstm.hidden_size,
        batch_first=True,
        bidirectional=True,
        input_dropout=lstm.input_dropout,
        recurrent_dropout=lstm.recurrent_dropout,
        recurrent_mask=lstm.recurrent_mask,
        output_dropout=lstm.output_dropout,
        weight_dropout=lstm.weight_dropout,
        zoneout=lstm.zoneout,
    )
    for name, _ in list(first.named_parameters()):
        setattr(first, name, getattr(lstm, name))
    return first


def pretrain(
    network: TextNetwork,
    vocabulary: Vocabulary,
    texts: Sequence[str],
    recipe: TextRecipe,
    *,
    seed: int,
    report: Report | None = None,
) -> list[float]:
    """Train embedding and LSTM to guess the next word, in place, and leave them with the weights of the best epoch.

    Parameters
    ----------
    network : TextNetwork
        With its starting weights; head and pooling are not touched.
    vocabulary : Vocabulary
        Of these texts.
    texts : sequence of str
        Training texts or a corpus; a tenth of them measures the guesses.
    recipe : TextRecipe
        ``pretrain_epochs``, and rates and learning rate as for the fit.
    seed : int
        Decides orders, masks and candidates.
    report : callable, optional
        Told of every epoch.

    Returns
    -------
    list of float
        Cross-entropy of the held texts before and after every epoch, in nats, among all words or a sample of them.

    References
    ----------
    Dai & Le 2015, Semi-supervised sequence learning, arXiv 1511.01432.
    """
    tokens = vocabulary.encode(texts, max_length=recipe.max_length)
    rng = np.random.default_rng([seed, 7])
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        reader = Reader(network, len(vocabulary), generator)
    order = rng.permutation(np.flatnonzero(tokens.lengths > 1))
    held, rows = np.split(order, [max(1, int(_HELD * len(order)))])
    if not len(rows):
        return []
    chances = np.maximum(np.array(vocabulary.counts, float), 1) ** 0.75
    chances[PAD] = 0.0
    optimizers = make_optimizers(reader, recipe)
    parameters = [p for p in reader.parameters() if p.requires_grad]
    losses, best = [_measure(reader, tokens, held, chances)], reader.state_dict()
    best = {name: value.clone() for name, value in best.items()}
    for epoch in range(1, recipe.pretrain_epochs + 1):
        reader.train()
        for part in batches(tokens.lengths[rows], recipe.batch_size, rng):
            words, lengths = tokens.padded(rows[part])
            loss = reader(words, lengths, *_candidates(words, chances, rng), generator)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            clip_gradients(parameters, recipe.clip_norm or np.inf)
            for optimizer in optimizers:
                optimizer.step()
        losses.append(_measure(reader, tokens, held, chances))
        if losses[-1] <= min(losses):
            best = {name: value.clone() for name, value in reader.state_dict().items()}
        if report:
            report(
                {
                    "pretrain_epoch": epoch,
                    "pretrain_epochs": recipe.pretrain_epochs,
                    "pretrain_loss": losses[-1],
                }
            )
    reader.load_state_dict(best)
    network.eval()
    return losses


def share_pretrained(
    shared: Shared,
    network: TextNetwork,
    vocabulary: Vocabulary,
    texts: Sequence[str],
    recipe: TextRecipe,
    *,
    seed: int,
    report: Report | None = None,
) -> None:
    """Do what `pretrain` does, once for all rungs of a fit.

    Parameters
    ----------
    shared : Shared
        Holds the weights where an earlier rung left them.
    network, vocabulary, texts, recipe, seed, report
        As for `pretrain`.
    """

    def make() -> Parts:
        pretrain(network, vocabulary, texts, recipe, seed=seed, report=report)
        return {name: value.numpy() for name, value in network.state_dict().items()}, {}

    start = list(network.state_dict().values())
    key = key_of("pretrained", list(texts), vocabulary.to_json(), recipe.to_dict(), seed, *start)
    found, _ = shared.get(key, make)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in found.items()})
    network.eval()


@torch.no_grad()
def _measure(reader: Reader, tokens: Tokens, rows: np.ndarray, chances: np.ndarray) -> float:
    reader.eval()
    rng, total, n = np.random.default_rng(0), 0.0, 0
    for part in batches(tokens.lengths[rows], 256):
        words, lengths = tokens.padded(rows[part])
        asked = int((lengths - 1).sum())
        total += asked * float(reader(words, lengths, *_candidates(words, chances, rng), None))
        n += asked
    return total / n


def _candidates(words: Tensor, chances: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The words of a batch and as many others as there is room for; how often each is among them, as a logarithm."""
    own = words.unique()
    own = own[own != PAD]
    if len(chances) <= _CANDIDATES:
        every = torch.arange(1, len(chances))
        return every, torch.zeros(len(every))
    share = chances / chances.sum()
    drawn = rng.choice(len(chances), _CANDIDATES, p=share)
    both = torch.cat([own, torch.from_numpy(drawn)]).unique()
    often = 1 - (1 - share[both.numpy()]) ** _CANDIDATES
    return both, torch.from_numpy(np.log(often)).float()
