"""Clean tables of many kinds, and the ways to plant a leak in one."""

import numpy as np
import polars as pl

N = 400


def random_walk(rng, n=N):
    return 50 + rng.normal(size=n).cumsum()


def price(rng, n=N):
    return 100 * np.exp(0.01 * rng.standard_t(4, size=n).cumsum())


def white_noise(rng, n=N):
    return rng.normal(size=n)


def autoregressive(rng, n=N, weight=0.8):
    y = np.zeros(n)
    noise = rng.normal(size=n)
    for t in range(1, n):
        y[t] = weight * y[t - 1] + noise[t]
    return y


def sensor(rng, n=N):
    """Smooth, a day's shape, two decimals."""
    slow = np.convolve(rng.normal(size=n + 40), np.hanning(41) / 20, "valid")
    return np.round(20 + 5 * np.sin(2 * np.pi * np.arange(n) / 24) + slow, 2)


def counts(rng, n=N):
    return rng.poisson(np.exp(1 + np.sin(2 * np.pi * np.arange(n) / 24))).astype(float)


def noiseless(rng, n=N):
    return np.sin(2 * np.pi * np.arange(n) / 24 + rng.random())


def steps(rng, n=N):
    """Stands still for runs of rows."""
    return np.repeat(rng.normal(size=n // 10 + 1).cumsum(), 10)[:n]


KINDS = {
    kind.__name__: kind
    for kind in (random_walk, price, white_noise, autoregressive, sensor, counts, noiseless, steps)
}


def table(y, **columns):
    times = np.datetime64("2020-01-01T00", "us") + np.arange(len(y)) * np.timedelta64(1, "h")
    return pl.DataFrame({"time": times, "y": y, **columns})


def clean(kind, seed, n=N):
    """A target and columns as they are in honest tables: another series, a lagging and a driving one, past means, a copy in other units."""
    rng = np.random.default_rng(seed)
    y = KINDS[kind](rng, n)
    other = KINDS[list(KINDS)[rng.integers(len(KINDS))]](rng, n)
    spread = np.diff(y).std() + 1e-9
    y_before = np.concatenate([[y[0]], y[:-1]])
    drives = np.concatenate([np.diff(y), [0.0]]) + spread * rng.normal(size=n)
    held = np.repeat(y[::7], 7)[:n]
    trailing = np.convolve(np.concatenate([np.full(4, y[0]), y]), np.ones(5) / 5, "valid")
    gappy = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    return table(
        y,
        other=other,
        before=y_before,
        drives=drives,
        held=held,
        trailing=trailing,
        gappy=gappy,
        up=(y > y_before).astype(float),
        busy=(rng.random(n) < 0.2).astype(float),
        related=y + spread * rng.normal(size=n),
    )


def later(y, k=1):
    return np.concatenate([y[k:], np.full(k, np.nan)])


def centred(y, half=2):
    return np.convolve(np.pad(y, half, mode="edge"), np.ones(2 * half + 1) / (2 * half + 1), "valid")


def filled_back(y, every=6):
    """Known in every sixth row only, and filled from the next known one."""
    n = len(y)
    return y[np.minimum((np.arange(n) // every + 1) * every - 1, n - 1)]


def words(rng, n=300):
    """Texts of random words, a few of which lean to a class."""
    vocabulary = np.array([f"word{k}" for k in range(300)])
    labels = rng.integers(0, 2, n)
    weights = np.ones((2, 300))
    weights[0, :30] += 2
    weights[1, 30:60] += 2
    rows = [
        " ".join(rng.choice(vocabulary, rng.integers(4, 20), p=weights[label] / weights[label].sum()))
        for label in labels
    ]
    return pl.DataFrame({"text": rows, "label": np.where(labels, "good", "bad")})
