// Which sequences still run at each step, which thread takes which, and where the memory for it lies.
#pragma once
#include "vector.hpp"

namespace heldout {
namespace ISA {
namespace {

// Hands out parts of one block of memory; without a block it only counts.
struct Arena {
    float* block;
    int64_t used = 0;

    float* floats(int64_t n) {
        float* part = block ? block + used : nullptr;
        used += round_up(n, 16);  // each part begins on a cache line
        return part;
    }
    int32_t* ints(int64_t n) { return reinterpret_cast<int32_t*>(floats(n)); }
    int64_t* longs(int64_t n) { return reinterpret_cast<int64_t*>(floats(2 * n)); }
    float** pointers(int64_t n) { return reinterpret_cast<float**>(floats(2 * n)); }
};

// Sequences by falling length, so that those which run at step s hold the first active[s] places.
struct Schedule {
    int32_t *sequence, *length;  // (B): of each place
    int32_t* active;             // (T + 1)
    int64_t* before;             // (T + 1): how many rows, that is pairs of step and place, come before step s

    Schedule(const Call& call, Arena& arena)
        : sequence(arena.ints(call.B)), length(arena.ints(call.B)), active(arena.ints(call.T + 1)), before(arena.longs(call.T + 1)) {
        int32_t* next = arena.ints(call.T + 1);
        if (!arena.block) return;
        for (int64_t s = 0; s <= call.T; ++s) active[s] = 0;
        for (int64_t b = 0; b < call.B; ++b) {
            const int64_t n = call.lengths ? call.lengths[b] : call.T;
            if (n) ++active[n - 1];
        }
        for (int64_t s = call.T - 1; s >= 0; --s) active[s] += active[s + 1];
        before[0] = 0;
        for (int64_t s = 0; s < call.T; ++s) before[s + 1] = before[s] + active[s];
        for (int64_t n = 0; n <= call.T; ++n) next[n] = active[n];  // the longer ones come first
        for (int64_t b = 0; b < call.B; ++b) {
            const int64_t n = call.lengths ? call.lengths[b] : call.T;
            const int32_t place = next[n]++;
            sequence[place] = static_cast<int32_t>(b);
            length[place] = static_cast<int32_t>(n);
        }
    }

    int64_t time(const Call& call, int64_t step, int64_t place) const {
        return call.backwards ? length[place] - 1 - step : step;
    }
};

// Calls task(item, worker) for each item, in several threads (see for_each).
template <class Task>
void in_parallel(int64_t n_threads, int64_t n_items, Task task) {
    for_each(n_threads, n_items, [](void* context, int64_t item, int64_t worker) { (*static_cast<Task*>(context))(item, worker); }, &task);
}

// A second thread pays once there is about a quarter of a millisecond for it.
constexpr int64_t kOperationsPerThread = 16 << 20;

ALWAYS_INLINE int64_t useful_threads(const Call& call) {
    return smaller(call.threads, larger(1, call.T * call.B * 8 * call.H * (call.H + call.F) / kOperationsPerThread));
}

// What the backward pass needs of a row, panel by panel: vectors of i, f, g, o, tanh c, and c as it is handed on. Of a last panel that
// is not full only its real units are kept.
constexpr int kSaved = 6;

ALWAYS_INLINE int64_t panel_floats(int64_t n_units) {
    return n_units >= W ? kSaved * W : round_up(kSaved * n_units, 16);
}

ALWAYS_INLINE int64_t row_floats(int64_t H) { return H / W * panel_floats(W) + panel_floats(H % W); }

// Places that go through time together, in one thread from the first step to the last: neighbours in memory, or every n-th where
// lengths differ, as the long sequences come first.
struct Slice {
    int64_t index, n_slices, first, stride, count;

    int64_t place(int64_t row) const { return first + row * stride; }
    // How many of this slice's rows hold one of the first n places, and how many of the rows of the slices before it.
    int64_t up_to(int64_t n) const { return n <= first ? 0 : smaller(count, (n - first - 1) / stride + 1); }
    int64_t before(int64_t n) const { return stride == 1 ? smaller(first, n) : n / n_slices * index + smaller(n % n_slices, index); }

    // What is saved of a panel, the rows of a step one after another.
    float* saved(const Call& call, const Schedule& schedule, int64_t step, int64_t panel) const {
        const int64_t n = schedule.active[step];
        return call.saved + (schedule.before[step] + before(n)) * row_floats(call.H) + panel * up_to(n) * panel_floats(W);
    }
};

// The batch cut in slices. They depend on the sizes of the call alone, so that the number of threads does not change a bit.
struct Slices {
    static constexpr int64_t kRowsOfOne = 16, kMost = 16;  // about; at most
    int64_t n;
    Slice slice[kMost];

    // As many as have work for a thread, unless their weight gradients would take much more memory than what is saved.
    explicit Slices(const Call& call) {
        const int64_t weights = 4 * call.H * (call.H + call.F), affordable = larger(2, call.T * call.B * row_floats(call.H) / (4 * weights));
        const int64_t useful = larger(call.B < 8 ? 1 : 2, (call.B + kRowsOfOne - 1) / kRowsOfOne);
        n = smaller(useful, smaller(affordable, kMost));
        for (int64_t i = 0; i < n; ++i) {
            const int64_t first = i * call.B / n, next = (i + 1) * call.B / n;
            slice[i] = call.lengths ? Slice{i, n, i, n, (call.B - i + n - 1) / n} : Slice{i, n, first, 1, next - first};
        }
    }
};

// Zoneout: the share of the old state that W units keep at a step.
template <class X = V>
ALWAYS_INLINE X kept_share(const Call& call, const float* keep, float rate, int64_t step, int64_t b, int64_t panel) {
    if (!keep) return all<X>(rate);
    return load_part<X>(keep + (step * call.B + b) * call.H + panel * W, call.H - panel * W);
}

template <int n>
struct Count {
    static constexpr int value = n;
};

template <int most, class Block>
ALWAYS_INLINE void rest(int64_t n, Block block) {
    if constexpr (most > 0) {
        if (n == most)
            block(Count<most>{});
        else
            rest<most - 1>(n, block);
    }
}

// Calls block(Count<size>, first row) until n rows are done, `most` at a time and then what is left.
template <int most, class Block>
ALWAYS_INLINE void in_blocks(int64_t n, Block block) {
    int64_t row = 0;
    for (; row + most <= n; row += most) block(Count<most>{}, row);
    rest<most - 1>(n - row, [&](auto size) { block(size, row); });
}

}  // namespace
}  // namespace ISA
}  // namespace heldout
