"""`BaseRecipe`: the hyper-parameters that fits of series, arrays and texts share, declared, ranged and documented once."""

from dataclasses import dataclass, replace
from typing import Any, Self

from heldout.check import InputError
from heldout.options import Options, documented, option

# What a user of another library would type, and what it is called here.
_OTHER_NAMES = {
    "units": "hidden_size",
    "hidden_dim": "hidden_size",
    "encoder_hidden_size": "hidden_size",
    "n_rnn_layers": "num_layers",
    "layers": "num_layers",
    "epochs": "max_epochs",
    "n_epochs": "max_epochs",
    "max_steps": "max_epochs",
    "dropout": "input_dropout, recurrent_dropout, output_dropout or weight_dropout",
    "kernel_regularizer": "l1 and l2",
    "recurrent_regularizer": "l1 and l2",
    "input_chunk_length": "lookback",
    "input_size": "lookback",
    "learning_rate": "lr",
    "gradient_clip_val": "clip_norm",
    "random_state": "seed, which belongs to the fit and not to the recipe",
}


def rate(doc: str, dial: float) -> Any:
    """Declare a probability of dropping that the dial sets where the user does not."""
    return option(None, doc, low=0, high=1, open_high=True, dial=dial)


@documented(
    "The hyper-parameters that every kind of fit has; `Recipe` and `TextRecipe` add their own.",
    ">>> BaseRecipe(regularization=2).resolved().output_dropout\n0.6",
)
@dataclass(frozen=True, kw_only=True)
class BaseRecipe(Options):  # noqa: D101 - written by `documented`
    # --- the network
    hidden_size: int = option(
        32, "Units per LSTM layer; more units fit (and overfit) more.", low=1, high=4096
    )
    num_layers: int = option(1, "LSTM layers.", low=1, high=8)
    bidirectional: bool = option(
        False, "Read the window in both directions (it lies in the past, so nothing leaks)."
    )
    dense: tuple[int, ...] = option(
        (), "Units of each ReLU layer between the LSTM and the output.", low=1, high=4096
    )
    # --- against overfitting
    regularization: float = option(
        1.0,
        "The one dial: 0 none, 1 default, 2 strong; sets every rate below that is left at None.",
        low=0,
        high=4,
    )
    input_dropout: float | None = rate("Inputs dropped for a whole window.", 0.0)
    recurrent_dropout: float | None = rate(
        "Recurrent units dropped for a whole window (Gal & Ghahramani).", 0.0
    )
    recurrent_mask: str = option(
        "sequence",
        "Whether recurrent_dropout drops other units in each window, or the same in all windows of a batch, which is faster on a GPU and weaker on small data.",
        choices=("sequence", "batch"),
    )
    output_dropout: float | None = rate("Outputs of each LSTM layer dropped for a whole window.", 0.3)
    weight_dropout: float | None = rate(
        "Entries of the recurrent weights dropped for a batch (DropConnect).", 0.1
    )
    zoneout: float | None = rate("States kept from the step before.", 0.0)
    dense_dropout: float | None = rate("Dropped before each dense layer and before the output.", 0.0)
    weight_decay: float | None = option(
        None,
        "Decoupled decay of weight matrices (AdamW), per unit of learning rate.",
        low=0,
        high=10,
        dial=0.01,
    )
    l1: float = option(
        0.0, "Strength of the L1 penalty on weight matrices, by proximal steps: exact zeros.", low=0
    )
    l2: float = option(0.0, "Strength of the squared penalty on the LSTM's matrices, in the loss.", low=0)
    dense_l2: float | None = option(None, "The same for the dense layers; None takes l2.", low=0)
    max_norm: float = option(
        0.0, "Largest Euclidean norm of a row of a weight matrix; 0 turns it off.", low=0
    )
    activation_penalty: float = option(0.0, "AR: strength of the mean squared LSTM output.", low=0)
    temporal_penalty: float = option(
        0.0, "TAR: strength of the mean squared change of the LSTM output from step to step.", low=0
    )
    label_smoothing: float = option(
        0.0,
        "Share of the probability spread over all classes (cross-entropy only).",
        low=0,
        high=1,
        open_high=True,
    )
    # --- training
    loss: str = option(
        "squared", "What is minimised.", choices=("squared", "absolute", "huber", "quantile", "cross_entropy")
    )
    optimizer: str = option("adamw", "Optimiser.", choices=("adamw", "adam", "sgd"))
    lr: float = option(1e-3, "Learning rate at the start.", low=0, high=10, open_low=True)
    schedule: str = option(
        "constant",
        "Course of the learning rate over the epochs.",
        choices=("constant", "cosine", "exponential"),
    )
    lr_decay: float = option(
        0.9, "Factor per epoch of the exponential schedule.", low=0, high=1, open_low=True
    )
    batch_size: int = option(64, "Windows per step.", low=1)
    max_epochs: int = option(40, "Epochs at most.", low=0)
    epoch_samples: int = option(20_000, "Windows per epoch at most, drawn afresh for each epoch.", low=1)
    valid_samples: int = option(
        5_000, "Windows that early stopping looks at, evenly spread over the validation rows.", low=1
    )
    clip_norm: float = option(1.0, "Largest norm of the gradient; 0 turns clipping off.", low=0)
    ema: float = option(
        0.0,
        "Decay per step of the averaged weights that are judged and kept; 0 turns averaging off.",
        low=0,
        high=1,
        open_high=True,
    )
    patience: int | None = option(
        8, "Epochs without a better validation loss before training ends; None trains to max_epochs.", low=1
    )
    min_delta: float = option(0.0, "How much lower the validation loss must be to count as better.", low=0)
    start_from_epoch: int = option(
        0, "First epoch whose weights may be kept (0: before any training).", low=0
    )
    restore_best: bool = option(
        True, "Keep the weights of the best epoch; False keeps the last, only to show what that habit costs."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing and self.loss != "cross_entropy":
            raise InputError(
                f"label_smoothing acts on cross-entropy only, got loss={self.loss!r}: leave it at 0"
            )
        if self.weight_decay and self.optimizer != "adamw":
            raise InputError(
                f"weight_decay is decoupled and needs optimizer='adamw', got {self.optimizer!r}: use l2 instead"
            )
        if self.start_from_epoch > self.max_epochs:
            raise InputError(
                f"start_from_epoch must be at most max_epochs={self.max_epochs}, got {self.start_from_epoch}"
            )

    def resolved(self) -> Self:
        """Give the recipe with every rate that was left at None set by the dial.

        Returns
        -------
        BaseRecipe
            Of the same kind; ``rate = regularization * default``, at most 0.8; ``dense_l2`` takes ``l2``.

        Examples
        --------
        >>> BaseRecipe(regularization=2, output_dropout=0.1).resolved().weight_dropout
        0.2
        >>> BaseRecipe(regularization=0).resolved().output_dropout
        0.0
        """
        recipe = (
            self
            if self.optimizer == "adamw" or self.weight_decay is not None
            else replace(self, weight_decay=0.0)
        )
        return replace(
            recipe.dialled(self.regularization), dense_l2=self.l2 if self.dense_l2 is None else self.dense_l2
        )

    @classmethod
    def _unknown(cls, name: str) -> str:
        return (
            f"unknown hyper-parameter {name!r}: here it is {_OTHER_NAMES[name]}"
            if name in _OTHER_NAMES
            else ""
        )
