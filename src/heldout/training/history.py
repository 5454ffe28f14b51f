"""`History`: what happened while a network trained."""

from dataclasses import dataclass, field
from typing import Any

from heldout.plots.tables import html_table
from heldout.plots.values import number


@dataclass
class History:
    """What happened, epoch by epoch.

    Attributes
    ----------
    epochs : list of dict
        ``epoch`` (0 is before any training), ``train_loss`` and ``valid_loss`` (evaluation mode, the same loss without
        penalties, scaled units), ``lr``.
    best_epoch : int
        The epoch whose weights are kept.
    stopped : bool
        The fit has ended, by early stopping or at ``max_epochs``; False where it was only trained ``until`` some epoch.

    Examples
    --------
    >>> losses = [(1.0, 1.1), (0.5, 0.9), (0.2, 1.3)]
    >>> epochs = [{"epoch": n, "train_loss": a, "valid_loss": b, "lr": 0.001} for n, (a, b) in enumerate(losses)]
    >>> History(epochs, best_epoch=1).plot().layout.meta["title"]
    'The best epoch was 1; training on would have raised the validation loss by 44.4 %'
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    stopped: bool = True

    def plot(self) -> Any:
        """Draw both losses on one scale, the kept epoch marked.

        Returns
        -------
        plotly.graph_objects.Figure

        Raises
        ------
        InputError
            If no epoch was run.
        """
        from heldout.plots.curves import learning_curves  # noqa: PLC0415 - plotly is slow to import

        return learning_curves([{"label": "fit", "epochs": self.epochs, "best_epoch": self.best_epoch}])

    def _repr_html_(self) -> str:
        """The first, the kept and the last epoch."""
        kept = {epoch["epoch"]: epoch for epoch in self.epochs}
        names: dict[float, str] = {}
        for place, name in ((0, "start"), (self.best_epoch, "kept"), (len(self.epochs) - 1, "last")):
            if place in kept:
                names[place] = f"{names[place]}, {name}" if place in names else name
        return html_table(
            f"{max(len(self.epochs) - 1, 0)} epochs of training, the weights of epoch {self.best_epoch} are kept",
            ["", "epoch", "training loss", "validation loss", "learning rate"],
            [
                [name, place, *(number(kept[place][key]) for key in ("train_loss", "valid_loss", "lr"))]
                for place, name in names.items()
            ],
        )
