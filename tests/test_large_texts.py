"""A fit to texts from files: by one worker or two the same; what is sealed trains nothing; killed, it goes on to the same model."""

import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from heldout import large_texts
from heldout.check import InputError
from heldout.config import TextConfig
from heldout.data.near_texts import near_duplicates
from heldout.experiment import fit
from heldout.large import is_large
from heldout.listener import Silent
from heldout.studies.engine import InlineEngine, LocalEngine
from heldout.text_recipe import TextRecipe

pytest.importorskip("pyarrow", reason="pyarrow is an extra: heldout[parquet]")
N, SAMPLED = 1200, 300
GOOD, BAD = [["good", "fine", "great", "kind"], ["bad", "poor", "awful", "cruel"]]


def reviews(n: int = N, *, twice: bool = True) -> pl.DataFrame:
    """Texts of drawn words, one of which tells the class; some may be written twice."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, n)
    filler = [f"w{k}" for k in range(60)]
    texts = [" ".join([*rng.choice(filler, 9), rng.choice((BAD, GOOD)[k])]) for k in label]
    for k in range(5, n, 50) if twice else ():
        texts[k] = f"{texts[k - 3]}!"
        label[k] = label[k - 3]
    who = rng.integers(0, n // 4, n)
    day = [date(2020, 1, 1) + timedelta(days=int(k)) for k in rng.permutation(n)]
    return pl.DataFrame({"review": texts, "stars": np.where(label, "good", "bad"), "who": who, "day": day})


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> TextConfig:
    """A small fit, of a small sample."""
    monkeypatch.setattr(large_texts, "SAMPLE_TEXTS", SAMPLED)
    recipe = TextRecipe(hidden_size=4, embedding_size=6, max_epochs=3, rare=1.0)
    return TextConfig(recipe=recipe).with_values({"text": "review", "target": "stars", "n_seeds": 1})


def written(frame: pl.DataFrame, path: Path) -> Path:
    """The table in a file."""
    path.parent.mkdir(exist_ok=True)
    frame.write_parquet(path, row_group_size=100)
    return path


def fitted(source: Path, config: TextConfig, out: Path, **how: Any) -> Any:
    """The result."""
    return fit(source, config, out=out, together=True, **{"engine": InlineEngine(), **how})


def test_a_folder_of_texts_is_fitted_by_two_workers_as_by_one(config, tmp_path):
    frame = reviews()
    for k in range(3):
        written(frame[400 * k : 400 * (k + 1)], tmp_path / "reviews" / f"{k}.parquet")
    assert is_large(tmp_path / "reviews", texts=True)
    one = fit(tmp_path / "reviews", config, out=tmp_path / "one", engine=InlineEngine())
    two = fit(tmp_path / "reviews", config, out=tmp_path / "two", engine=LocalEngine(2))
    assert [row.name for row in one.rows] == [row.name for row in two.rows]
    assert [row.value for row in two.rows] == pytest.approx([row.value for row in one.rows], rel=1e-4)
    said = " ".join(two.notes)
    assert f"{N:,} texts: the network was trained on" in said
    assert "by 2 workers together" in said
    assert two.sentence.endswith("texts that train it, and to those that stop it.")
    assert not (tmp_path / "two" / "checkpoints").exists()
    model = two.model
    assert model.predict_proba(["w1 w2 w3 great"])[0].argmax() == 1


@pytest.mark.parametrize("extra", [{}, {"group": "who", "time": "day"}])
def test_nothing_that_is_held_out_trains(config, tmp_path, monkeypatch, extra):
    frame, found = reviews(), []
    before = large_texts._TextFits._class_counts

    def look(self: Any, rows: Any) -> Any:
        found.append((rows, self.sampled, self.fold))
        return before(self, rows)

    monkeypatch.setattr(large_texts._TextFits, "_class_counts", look)
    config = config.with_values({**extra, "max_epochs": 1})
    fitted(written(frame, tmp_path / "reviews.parquet"), config, tmp_path / "run")
    runs, sampled, fold = found[0]
    train = np.concatenate([np.arange(a, a + n) for a, n in zip(runs.starts, runs.counts, strict=True)])
    held = sampled[np.concatenate([fold.valid, fold.test])]
    assert set(sampled[fold.train]) <= set(train.tolist())
    assert not set(held) & set(train.tolist())
    assert len(train) > SAMPLED
    units = near_duplicates(frame["review"].to_list())
    pairs = {unit for unit in units[held].tolist() if (units == unit).sum() == 2}
    assert pairs
    assert not pairs & set(units[train].tolist())
    if "group" in extra:
        assert not set(frame["who"].to_numpy()[held]) & set(frame["who"].to_numpy()[train])
    if "time" in extra:
        days = frame["day"].to_numpy()
        assert days[train].max() < days[held].min()
    else:
        assert len(train) + len(held) < N


def test_the_words_of_sealed_texts_are_not_known(config, tmp_path):
    frame = reviews(twice=False)
    run = fitted(written(frame, tmp_path / "reviews.parquet"), config, tmp_path / "run")
    sealed = pl.read_parquet(run.path / "predictions.parquet")
    assert len(sealed) == run.test_rows
    # Sealed texts in other words: the network is the same, to the bit.
    changed = frame["review"].to_list()
    rows = sealed_rows(frame, sealed)
    for row in rows:
        changed[row] = " ".join(f"unseen{word}" for word in changed[row].split())
    other = fitted(
        written(frame.with_columns(review=pl.Series(changed)), tmp_path / "other.parquet"),
        config,
        tmp_path / "other",
    )
    one, two = (result.model for result in (run, other))
    assert one.vocabulary.words == two.vocabulary.words
    assert all(
        (a == b).all()
        for a, b in zip(
            one.networks[0].state_dict().values(), two.networks[0].state_dict().values(), strict=True
        )
    )


def sealed_rows(frame: pl.DataFrame, sealed: pl.DataFrame) -> list[int]:
    """Rows of the table that are sealed."""
    wanted = set(sealed["text_sha256"].to_list())
    return [
        row
        for row, text in enumerate(frame["review"].to_list())
        if hashlib.sha256(text.encode()).hexdigest()[:16] in wanted
    ]


class Stop(Silent):
    """Interrupts after an epoch."""

    def epoch(self, job: Any, state: dict[str, Any]) -> None:
        """Interrupt."""
        if state["epoch"] == 2:
            raise KeyboardInterrupt


def test_interrupted_on_the_way_it_goes_on_to_the_same_model(config, tmp_path, monkeypatch):
    source = written(reviews(), tmp_path / "reviews.parquet")
    with pytest.raises(KeyboardInterrupt):
        fitted(source, config, tmp_path / "stopped", listener=Stop())
    assert list((tmp_path / "stopped" / "checkpoints").glob("*.safetensors"))

    def again(*_: object) -> None:
        raise AssertionError("the texts were read once more")

    with monkeypatch.context() as patch:
        patch.setattr(large_texts._TextFits, "_training", again)
        fitted(source, config, tmp_path / "stopped")
    whole = fitted(source, config, tmp_path / "whole")
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("stopped", "whole")]
    assert models[0] == models[1]
    # Once it is finished, the same call answers from the ledger.
    monkeypatch.setattr(large_texts._TextFits, "fit", again)
    monkeypatch.setattr(large_texts._TextFits, "_training", again)
    assert fitted(source, config, tmp_path / "whole").rows == whole.rows


def test_where_all_texts_are_in_the_sample_it_is_the_fit_from_memory(config, tmp_path, monkeypatch):
    monkeypatch.setattr(large_texts, "SAMPLE_TEXTS", 10**6)
    source = written(reviews(400), tmp_path / "reviews.parquet")
    config = config.with_values({"rare": 0.0, "n_folds": 0})
    memory = fit(source, config, out=tmp_path / "memory", engine=InlineEngine())
    files = fitted(source, config, tmp_path / "files")
    assert [row.name for row in memory.rows] == [row.name for row in files.rows]
    assert [row.value for row in files.rows] == pytest.approx([row.value for row in memory.rows], rel=1e-5)
    assert files.model.vocabulary == memory.model.vocabulary
    assert files.sentence[:60] == memory.sentence[:60]
    assert "The baselines were fitted" not in files.sentence


def test_vectors_and_reading_before_are_taken_from_files_too(config, tmp_path):
    words = [*GOOD, *BAD, *[f"w{k}" for k in range(60)]]
    rng = np.random.default_rng(0)
    lines = [" ".join([word, *map(str, rng.normal(size=8).round(3))]) for word in words]
    (tmp_path / "vectors.txt").write_text("\n".join(lines))
    config = config.with_values(
        {"vectors": str(tmp_path / "vectors.txt"), "pretrain_epochs": 1, "shortcut": "none"}
    )
    found = fitted(written(reviews(), tmp_path / "reviews.parquet"), config, tmp_path / "run")
    model = found.model
    assert model.vectors.size == 6
    assert model.linear is None


@pytest.mark.parametrize(
    ("changes", "how", "message"),
    [
        ({"n_folds": 3}, {}, "is fitted once and judged on the sealed test, got n_folds=3: leave it out"),
        ({"p_rd": 0.1}, {}, "texts larger than memory are not augmented: leave the rates"),
        ({"shortcut": "residual"}, {}, "set shortcut to 'tfidf' or 'none', got 'residual'"),
        ({"test": "rest.csv"}, {}, "data larger than memory has no test table of its own"),
        ({"vectors": "nowhere.txt"}, {}, "vectors must name what is there, but nowhere.txt is not"),
        ({}, {"rivals": {"small": TextRecipe()}}, "rivals cannot be given with data larger than memory"),
    ],
)
def test_what_files_cannot_have_is_refused_before_they_are_read(config, tmp_path, changes, how, message):
    source = written(reviews(50), tmp_path / "reviews.parquet")
    with pytest.raises(InputError, match=message):
        fitted(source, config.with_values(changes), tmp_path / "run", **how)
    assert {item.name for item in tmp_path.iterdir()} == {"reviews.parquet"}


def test_workers_train_together_on_paths_only(config):
    with pytest.raises(InputError, match="workers that train together read Parquet files"):
        fit(reviews(50), config, together=True)


def test_a_small_file_is_read_into_memory(tmp_path):
    assert not is_large(written(reviews(50), tmp_path / "reviews.parquet"), texts=True)
