"""Seconds of a training epoch on texts: heldout against a DataLoader loop over packed sequences, and against Keras.

    python benchmarks/text_throughput.py [--threads 1] [--repeats 3] [--peers PYTHON]

Subj (10 000 sentences of 23 words): embedding 100, one bidirectional layer of 64 units, mean and maximum over time, two
classes, batches of 32, AdamW. All sides are given numbered texts and train every weight. heldout has dropout of words, on
inputs, on the recurrent connections, of recurrent weights and on outputs; the loop, as tutorials have it, has none. Keras
(TensorFlow, in the interpreter given) has dropout and recurrent_dropout, in two forms: see `text_peers.py`.
Every side is warmed up; rounds take turns; the ratio is that of the medians.
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

from heldout.data.text import Tokens, Vocabulary
from heldout.data.token_batches import TokenSource
from heldout.nn.text import TextNetwork
from heldout.text_recipe import TextRecipe
from heldout.training.loop import _Run

FILE = Path(__file__).parents[1] / ".." / "shared" / "data" / "text" / "sent_conv" / "subj.all.gz"
EMBEDDING, HIDDEN, BATCH = 100, 64, 32


def read() -> tuple[list[str], np.ndarray]:
    if not FILE.exists():
        raise SystemExit(f"the sentences of Subj are not there: {FILE}")
    lines = gzip.decompress(FILE.read_bytes()).decode("latin-1").rstrip("\n").split("\n")
    pairs = [line.split(" ", 1) for line in lines]
    return [text for _, text in pairs], np.array([int(label) for label, _ in pairs])


class Ours:
    """What `heldout.training.loop.train` does for an epoch."""

    def __init__(self, tokens: Tokens, labels: np.ndarray, vocabulary: Vocabulary) -> None:
        recipe = TextRecipe(
            hidden_size=HIDDEN, embedding_size=EMBEDDING, batch_size=BATCH, shortcut="none"
        ).resolved()
        self.source = TokenSource(tokens, labels, counts=vocabulary.counts, rare=recipe.rare)
        network = TextNetwork(len(vocabulary), 2, recipe)
        self.run, self.rows, self.number = _Run(network, recipe, 0), torch.arange(len(labels)), 0

    def epoch(self) -> None:
        self.number += 1
        self.run.train_epoch(self.source, self.rows, self.number, 2e-3)


class Packed(nn.Module):
    """The same network over packed sequences."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, EMBEDDING, padding_idx=0)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.head = nn.Linear(4 * HIDDEN, 2)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(words), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, padding_value=0.0)
        valid = (torch.arange(states.shape[1]) < lengths[:, None])[:, :, None]
        mean = (states * valid).sum(1) / lengths[:, None]
        return self.head(torch.cat([mean, states.masked_fill(~valid, -1.0).amax(1)], dim=1))


class Loop:
    """The loop that people write."""

    def __init__(self, tokens: Tokens, labels: np.ndarray, vocabulary: Vocabulary) -> None:
        texts = [torch.from_numpy(part) for part in np.split(tokens.ids, tokens.offsets[1:-1])]
        samples = list(zip(texts, labels.tolist(), strict=True))
        self.loader = DataLoader(samples, batch_size=BATCH, shuffle=True, collate_fn=self.collate)
        self.network = Packed(len(vocabulary))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=2e-3)

    @staticmethod
    def collate(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
        texts, labels = zip(*samples, strict=True)
        return (
            pad_sequence(texts, batch_first=True),
            torch.tensor([len(t) for t in texts]),
            torch.tensor(labels),
        )

    def epoch(self) -> None:
        self.network.train()
        for words, lengths, labels in self.loader:
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.network(words, lengths), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()


class Keras:
    """`text_peers.py` in another interpreter."""

    def __init__(
        self, python: str, form: str, tokens: Tokens, labels: np.ndarray, n_words: int, threads: int
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "subj.npz"
        np.savez(file, ids=tokens.ids, offsets=tokens.offsets, labels=labels)
        command = [
            python,
            str(Path(__file__).with_name("text_peers.py")),
            form,
            str(file),
            str(n_words),
            str(threads),
        ]
        environment = os.environ | {
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
        }
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        if self.answer() != "ready":
            raise SystemExit(f"{python} could not run Keras on TensorFlow; see requirements-peers.txt")

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def epoch(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("1\n")
        self.process.stdin.flush()
        self.answer()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has Keras and TensorFlow")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    texts, labels = read()
    vocabulary = Vocabulary.learn(texts)
    tokens = vocabulary.encode(texts)
    sides = {
        "heldout": Ours(tokens, labels, vocabulary),
        "nn.LSTM, packed, DataLoader": Loop(tokens, labels, vocabulary),
    }
    if asked.peers:
        sides |= {
            f"Keras, TensorFlow, {form}": Keras(
                asked.peers, form, tokens, labels, len(vocabulary), asked.threads
            )
            for form in ("bucketed", "padded")
        }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(asked.repeats + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side.epoch()
            if repeat:  # the first warms up
                seconds[name].append(time.perf_counter() - began)
            print(".", end="", file=sys.stderr, flush=True)
    print(
        f"\n{len(texts)} texts, {len(vocabulary)} words, {asked.threads} thread(s), median of {asked.repeats} epochs"
    )
    own = median(seconds["heldout"])
    for name, found in seconds.items():
        print(
            f"{name:40} {median(found):7.2f} s   {len(texts) / median(found):8.0f} texts/s   {median(found) / own:5.1f} x heldout's time"
        )


if __name__ == "__main__":
    main()
