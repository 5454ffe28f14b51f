"""The other side of `text_throughput.py --peers`: epochs of Keras on TensorFlow, on request, in its own interpreter.

Arguments: FORM FILE N_WORDS THREADS. Prints "ready" once compiled and warm; then runs an epoch for each line it reads.

"padded" is what Keras documents: ``model.fit`` on texts padded to one length, here that of the longest. "bucketed" is the
kindest form that its user can write: texts sorted by length into batches, each padded to its longest text rounded up to
ten so that few shapes are compiled, and a step of his own in a `tf.function`.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

EMBEDDING, HIDDEN, BATCH = 100, 64, 32


def batches(file: str) -> list[tuple[tf.Tensor, tf.Tensor]]:
    held = np.load(file)
    texts = np.split(held["ids"], held["offsets"][1:-1])
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    made = []
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        words = np.zeros((len(rows), -(-len(texts[rows[-1]]) // 10) * 10), np.int32)
        for place, row in enumerate(rows):
            words[place, : len(texts[row])] = texts[row]
        made.append((tf.constant(words), tf.constant(held["labels"][rows])))
    return made


def main() -> None:
    form, file, n_words, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    words = keras.Input((None,), dtype="int32")
    vectors = keras.layers.Embedding(n_words, EMBEDDING, mask_zero=True)(words)
    lstm = keras.layers.LSTM(HIDDEN, return_sequences=True, recurrent_dropout=0.1, dropout=0.2)
    states = keras.layers.Bidirectional(lstm)(vectors)
    pooled = [keras.layers.GlobalAveragePooling1D()(states), keras.layers.GlobalMaxPooling1D()(states)]
    model = keras.Model(words, keras.layers.Dense(2)(keras.layers.Concatenate()(pooled)))
    optimizer = keras.optimizers.AdamW(2e-3, clipnorm=1.0)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    if form == "padded":
        model.compile(optimizer, loss_of)
        held = np.load(file)
        texts = np.split(held["ids"], held["offsets"][1:-1])
        x = keras.utils.pad_sequences(texts, padding="post")
        model.fit(x[: 4 * BATCH], held["labels"][: 4 * BATCH], batch_size=BATCH, verbose=0)
        print("ready", flush=True)
        for _ in sys.stdin:
            model.fit(x, held["labels"], batch_size=BATCH, verbose=0)
            print("done", flush=True)
        return

    @tf.function(reduce_retracing=False)
    def step(words: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(words, training=True))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    made, rng = batches(file), np.random.default_rng(0)
    for shape in {batch[0].shape: batch for batch in made}.values():
        step(*shape)
    print("ready", flush=True)
    for _ in sys.stdin:
        for place in rng.permutation(len(made)):
            loss = step(*made[place])
        loss.numpy()
        print("done", flush=True)


main()
