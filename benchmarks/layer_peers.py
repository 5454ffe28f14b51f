"""The other side of `layer.py --peers`: times Keras's LSTM with recurrent dropout, on request, in its own interpreter.

Started with the backend in KERAS_BACKEND and ``FORM THREADS HIDDEN BATCH STEPS FEATURES`` as arguments. Prints "ready"
once compiled and warm; then, for each line holding a number, runs that many training steps and prints the seconds.

A step is the kindest form that a Keras user can reach: one compiled function that gives the gradients of the weights.
``train_on_batch`` adds the optimizer, the metrics and copies of the batch: 1.0 to 1.4 times as long where it was tried.
On TensorFlow there are two forms: "default", as Keras compiles on a machine that has a CPU only (a tf.function
without XLA), and "xla", which it uses if asked to by ``compile(jit_compile=True)``.
"""

import os
import sys
import time
from collections.abc import Callable

import numpy as np

Step = Callable[[], object]
WARM_UP = 5


def jax_step(hidden: int, x: np.ndarray, upstream: np.ndarray) -> Step:
    import jax

    model = keras_model(hidden, x)

    def loss(weights: list, state: list, x: jax.Array, upstream: jax.Array) -> tuple[jax.Array, list]:
        outputs, state = model.stateless_call(weights, state, x, training=True)
        return (outputs * upstream).sum(), state

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    weights = [variable.value for variable in model.trainable_variables]
    state = [variable.value for variable in model.non_trainable_variables]  # the seed of the masks
    x, upstream = jax.device_put(x), jax.device_put(upstream)

    def step() -> None:
        nonlocal state
        gradients, state = gradient(weights, state, x, upstream)
        jax.block_until_ready(gradients)

    return step


def tensorflow_step(hidden: int, x: np.ndarray, upstream: np.ndarray, threads: int, *, xla: bool) -> Step:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = keras_model(hidden, x)

    @tf.function(jit_compile=xla)
    def gradient(x: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) * upstream)
        return tape.gradient(loss, model.trainable_variables)

    x, upstream = tf.constant(x), tf.constant(upstream)
    return lambda: [part.numpy() for part in gradient(x, upstream)]


def keras_model(hidden: int, x: np.ndarray):
    import keras

    layer = keras.layers.LSTM(hidden, recurrent_dropout=0.3, return_sequences=True)
    return keras.Sequential([keras.Input(x.shape[1:]), layer])


def main() -> None:
    form, (threads, hidden, batch, steps, features) = sys.argv[1], map(int, sys.argv[2:])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, steps, features)).astype(np.float32)
    upstream = rng.normal(size=(batch, steps, hidden)).astype(np.float32)
    if os.environ["KERAS_BACKEND"] == "jax":
        step = jax_step(hidden, x, upstream)
    else:
        step = tensorflow_step(hidden, x, upstream, threads, xla=form == "xla")
    for _ in range(WARM_UP):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
