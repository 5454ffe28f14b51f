"""The other side of `studies.py --peers`: whole grid searches, on request, in an interpreter of its own.

Arguments: FORM FILE. FILE holds the windows, the folds and the grid. Prints "ready" once warm (imports done, worker
processes started, one small search); then runs the search for each line it reads and prints its best mean test loss.

"skorch" is scikit-learn's GridSearchCV over a NeuralNetRegressor, two jobs of one torch thread, no refit at the end and no
rows split off for validation. "keras" is KerasTuner's GridSearch on TensorFlow, both cores within a fit: its trials run one
after the other. It has no folds of its own; `run_trial` goes over them, as its documentation shows, and leaves out the
checkpoint that the tuner would write after every epoch. recurrent_dropout=0.1 turns the fused kernel off, as in any Keras.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 64
Search = Callable[[dict[str, Any]], float]


def load(file: str) -> dict[str, Any]:
    held = np.load(file)
    folds = [(held[f"train{n}"], held[f"test{n}"]) for n in range(int(held["n_folds"]))]
    grid = {"hidden": held["hidden"].tolist(), "lr": held["lr"].tolist()}
    return {"x": held["x"], "y": held["y"], "folds": folds, "epochs": int(held["epochs"]), **grid}


def skorch_search() -> Search:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    from sklearn.model_selection import GridSearchCV
    from skorch import NeuralNetRegressor

    class Net(torch.nn.Module):
        def __init__(self, hidden: int = 8, n_outputs: int = 24) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(1, hidden, batch_first=True)
            self.head = torch.nn.Linear(hidden, n_outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    def search(held: dict[str, Any]) -> float:
        net = NeuralNetRegressor(
            Net,
            module__n_outputs=held["y"].shape[1],
            optimizer=torch.optim.Adam,
            max_epochs=held["epochs"],
            batch_size=BATCH,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        )
        grid = {"module__hidden": held["hidden"], "lr": held["lr"]}
        found = GridSearchCV(
            net,
            grid,
            cv=held["folds"],
            scoring="neg_mean_squared_error",
            n_jobs=2,
            refit=False,
            error_score="raise",
        )
        found.fit(held["x"], held["y"])
        return -float(found.best_score_)

    return search


def keras_search() -> Search:
    os.environ |= {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    import keras
    import keras_tuner
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)

    class Folds(keras_tuner.GridSearch):
        def run_trial(self, trial, held: dict[str, Any], verbose: int = 0) -> float:
            losses = []
            for train, test in held["folds"]:
                model = self.hypermodel.build(trial.hyperparameters)
                x, y = held["x"], held["y"]
                model.fit(x[train], y[train], batch_size=BATCH, epochs=held["epochs"], verbose=verbose)
                losses.append(model.evaluate(x[test], y[test], batch_size=512, verbose=0))
            return float(np.mean(losses))

    def search(held: dict[str, Any]) -> float:
        def build(choice: keras_tuner.HyperParameters) -> keras.Model:
            hidden, lr = choice.Choice("hidden", held["hidden"]), choice.Choice("lr", held["lr"])
            layers = [
                keras.Input(held["x"].shape[1:]),
                keras.layers.LSTM(hidden, recurrent_dropout=0.1),
                keras.layers.Dense(held["y"].shape[1]),
            ]
            model = keras.Sequential(layers)
            model.compile(keras.optimizers.Adam(lr), "mse")
            return model

        keras.utils.clear_session()
        with tempfile.TemporaryDirectory() as folder:
            tuner = Folds(build, directory=folder, project_name="search")
            tuner.search(held, verbose=0)
            return float(tuner.oracle.get_best_trials(1)[0].score)

    return search


def main() -> None:
    warnings.simplefilter("ignore")
    form, file = sys.argv[1:]
    search, held = {"skorch": skorch_search, "keras": keras_search}[form](), load(file)
    small = {"hidden": held["hidden"][:1], "lr": held["lr"][:1], "folds": held["folds"][:2], "epochs": 1}
    search(held | small)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(search(held), flush=True)


if __name__ == "__main__":
    main()
