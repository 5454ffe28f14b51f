"""`EarlyStopping`: when to end training, and which epoch was best."""

from dataclasses import dataclass
from math import inf

from heldout.base_recipe import BaseRecipe


@dataclass
class EarlyStopping:
    """Watches a loss (lower is better, negative ones too) epoch by epoch.

    Parameters
    ----------
    patience : int or None
        Epochs without improvement before `stop`; None never stops.
    min_delta : float, default 0
        A value counts as better if it is lower than the best by more than this.
    start_from_epoch : int, default 0
        Earlier epochs are ignored.

    Examples
    --------
    >>> watch = EarlyStopping(patience=2)
    >>> [watch.improved(epoch, loss) for epoch, loss in enumerate([-1.0, -1.2, -1.1, -1.0])]
    [True, True, False, False]
    >>> watch.best_epoch, watch.stop
    (1, True)
    """

    patience: int | None
    min_delta: float = 0.0
    start_from_epoch: int = 0
    best: float = inf
    best_epoch: int = -1
    stop: bool = False

    @classmethod
    def from_recipe(cls, recipe: BaseRecipe) -> "EarlyStopping":
        """Take the three numbers of a recipe."""
        return cls(recipe.patience, recipe.min_delta, recipe.start_from_epoch)

    def improved(self, epoch: int, value: float) -> bool:
        """Note the value of an epoch and say whether it is the best so far.

        Parameters
        ----------
        epoch : int
            Its number, rising.
        value : float
            Loss; NaN is never better.

        Returns
        -------
        bool
        """
        if epoch < self.start_from_epoch:
            return False
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch
            return True
        since = epoch - max(self.best_epoch, self.start_from_epoch)
        self.stop = self.patience is not None and since >= self.patience
        return False
