// The recurrence backward in time. The batch is cut in slices, and each goes through time in chunks of steps: first the gradients of
// the gates, step by step, then, while these are in the cache, their share of the weight gradients. The slices depend on the sizes
// of the call alone and what they give is added in their order, so that the number of threads does not change a bit.
#pragma once
#include "schedule.hpp"

namespace heldout {
namespace ISA {
namespace {

constexpr int64_t kChunkFloats = 64 << 10;  // of gate gradients: 256 KiB, to stay in the second-level cache
constexpr int64_t kLeastRows = 128;         // of a chunk: fewer make the sums over them start and stop too often
constexpr int64_t kMostRows = 512;
constexpr int64_t kRowsAtOnce = 128;  // of the sums of weight gradients: their inputs stay in the first-level cache

// Weights for d_gates @ weight, (4H, n_columns): strips of 2W columns; of each a row per gate, in the order of d_gates.
struct ColumnWeights {
    const int64_t H, n_columns, n_strips;
    float* packed;

    ColumnWeights(int64_t H, int64_t n_columns, Arena& arena)
        : H(H), n_columns(n_columns), n_strips((n_columns + 2 * W - 1) / (2 * W)), packed(arena.floats(n_strips * 4 * H * 2 * W)) {}

    const float* strip(int64_t s) const { return packed + s * 4 * H * 2 * W; }

    void pack(const float* weight, int64_t panel) {
        const int64_t n_units = smaller(W, H - panel * W);
        for (int64_t s = 0; s < n_strips; ++s) {
            const int64_t column = s * 2 * W, n = smaller(2 * W, n_columns - column);
            float* to = packed + (s * 4 * H + panel * 4 * W) * 2 * W;
            for (int64_t gate = 0; gate < 4; ++gate)
                for (int64_t unit = panel * W; unit < panel * W + n_units; ++unit, to += 2 * W) {
                    const float* const from = weight + (gate * H + unit) * n_columns + column;
                    for (int64_t j = 0; j < 2 * W; ++j) to[j] = j < n ? from[j] : 0.0f;
                }
        }
    }
};

// What all slices share.
struct Backward {
    const Call& call;
    const Gradients& grads;
    const int64_t n_panels, width;
    const bool wants_weights;
    const int64_t n_inputs;  // of a row of `inputs`: [h that went into the gates, x, 1, 0 up to whole vectors]
    const int64_t n_threads, target_rows;
    const Schedule schedule;
    const Slices slices;
    ColumnWeights of_h, of_x;
    float *d_h, *d_c, *passed, *mask;  // (B, width) by place; `passed`: what zoneout hands back to the old h
    float* d_weights;                  // (slices, 4 width, n_inputs)
    int64_t chunk_rows;                // at most
    float* d_gates;                    // (threads, panels, rows of the chunk, 4W)
    float* inputs;                     // (threads, rows of the chunk, n_inputs)
    float** d_x;                       // (threads, rows of the chunk): where the gradient of x goes

    Backward(const Call& call, const Gradients& grads, Arena& arena)
        : call(call),
          grads(grads),
          n_panels((call.H + W - 1) / W),
          width(n_panels * W),
          wants_weights(grads.w_ih || grads.w_hh || grads.bias_ih || grads.bias_hh),
          n_inputs(round_up(call.H + call.F + 1, W)),
          n_threads(useful_threads(call)),
          target_rows(smaller(larger(kChunkFloats / (4 * width), kLeastRows), kMostRows)),
          schedule(call, arena),
          slices(call),
          of_h(call.H, call.H, arena),
          of_x(call.H, grads.x.data ? call.F : 0, arena) {
        const int64_t n = call.B * width;
        d_h = arena.floats(n);
        d_c = arena.floats(n);
        passed = call.zoneout ? arena.floats(n) : nullptr;
        mask = call.mask ? arena.floats(n) : nullptr;
        d_weights = arena.floats(wants_weights ? slices.n * 4 * width * n_inputs : 0);
        chunk_rows = target_rows + (call.B + slices.n - 1) / slices.n;
        const int64_t n_workers = smaller(n_threads, slices.n);
        d_gates = arena.floats(n_workers * chunk_rows * 4 * width);
        inputs = arena.floats(wants_weights ? n_workers * chunk_rows * n_inputs : 0);
        d_x = arena.pointers(grads.x.data ? n_workers * chunk_rows : 0);
    }

    void run();

private:
    // Adds up what the slices found for W units of a gate.
    void hand_over(int64_t gate) {
        for (int64_t k = gate * W; k < (gate + 1) * W; ++k) {
            const int64_t unit = gate / 4 * W + k % W, row = gate % 4 * call.H + unit;
            if (unit < call.H) hand_over(d_weights + k * n_inputs, row);
        }
    }

    void hand_over(float* sums, int64_t row) {
        for (int64_t slice = 1; slice < slices.n; ++slice) {
            const float* const more = sums + slice * 4 * width * n_inputs;
            for (int64_t j = 0; j < n_inputs; j += W) store(sums + j, load(sums + j) + load(more + j));
        }
        if (grads.w_hh) std::memcpy(grads.w_hh + row * call.H, sums, call.H * sizeof(float));
        if (grads.w_ih) std::memcpy(grads.w_ih + row * call.F, sums + call.H, call.F * sizeof(float));
        if (grads.bias_ih) grads.bias_ih[row] = sums[call.H + call.F];
        if (grads.bias_hh) grads.bias_hh[row] = sums[call.H + call.F];
    }
};

// One slice's way through time, and its weight gradients.
struct BackwardSlice {
    const Backward& of;
    const Slice slice;
    float *d_gates, *inputs, **d_x;  // this thread's
    float* d_weights;                // this slice's
    int64_t n_chunk = 0;                  // rows of the chunk

    const Call& call = of.call;
    const Gradients& grads = of.grads;
    const Schedule& schedule = of.schedule;
    const int64_t n_panels = of.n_panels, width = of.width, n_inputs = of.n_inputs;

    void run() {
        if (of.wants_weights) std::memset(d_weights, 0, 4 * width * n_inputs * sizeof(float));
        for (int64_t row = 0; row < slice.count; ++row) start(slice.place(row));
        for (int64_t end = call.T; end > 0;) {
            int64_t begin = end;
            for (n_chunk = 0; begin > 0 && n_chunk < of.target_rows; --begin) n_chunk += n_rows(begin - 1);
            for (int64_t step = end - 1, done = 0; step >= begin; done += n_rows(step--)) through_step(step, done);
            if (grads.x.data) to_x();
            if (of.wants_weights) add_weight_gradients();
            end = begin;
        }
        for (int64_t row = 0; row < slice.count; ++row) finish(slice.place(row));
    }

private:
    int64_t n_rows(int64_t step) const { return slice.up_to(schedule.active[step]); }

    void start(int64_t place) {
        const int64_t b = schedule.sequence[place];
        for (int64_t k = 0; k < width; ++k) {
            const bool real = k < call.H;
            of.d_h[place * width + k] = real && grads.h_n ? grads.h_n[b * call.H + k] : 0.0f;
            of.d_c[place * width + k] = real && grads.c_n ? grads.c_n[b * call.H + k] : 0.0f;
            if (of.mask) of.mask[place * width + k] = real ? call.mask[b * call.H + k] : 0.0f;
        }
        if (!grads.x.data) return;
        for (int64_t t = schedule.length[place]; t < call.T; ++t) std::memset(at(grads.x, t, b), 0, call.F * sizeof(float));
    }

    void finish(int64_t place) {
        const int64_t b = schedule.sequence[place];
        if (grads.h0) std::memcpy(grads.h0 + b * call.H, of.d_h + place * width, call.H * sizeof(float));
        if (grads.c0) std::memcpy(grads.c0 + b * call.H, of.d_c + place * width, call.H * sizeof(float));
    }

    // The rows of one step, which come first + 0, 1, ... in the chunk.
    void through_step(int64_t step, int64_t first) {
        const int64_t n = n_rows(step);
        float* const d_step = d_gates + first * 4 * W;
        for (int64_t panel = 0; panel < n_panels; ++panel) {
            const float* const saved = slice.saved(call, schedule, step, panel);
            const float* const before = step ? slice.saved(call, schedule, step - 1, panel) : nullptr;
            const int64_t size = panel_floats(call.H - panel * W);
            for (int64_t row = 0; row < n; ++row)
                through_gates(step, panel, slice.place(row), saved + row * size, before ? before + row * size : nullptr,
                              d_step + (panel * n_chunk + row) * 4 * W);
        }
        in_blocks<kRowsBack>(n, [&](auto size, int64_t row) {
            for (int64_t strip = 0; strip < of.of_h.n_strips; ++strip) to_old_h<decltype(size)::value>(step, row, strip, d_step);
        });
        for (int64_t row = 0; row < n; ++row) {
            const int64_t place = slice.place(row);
            if (grads.x.data) d_x[first + row] = at(grads.x, schedule.time(call, step, place), schedule.sequence[place]);
            if (of.wants_weights) write_inputs(step, place, inputs + (first + row) * n_inputs);
        }
    }

    // The derivatives of W units through the gate functions.
    ALWAYS_INLINE void through_gates(int64_t step, int64_t panel, int64_t place, const float* saved, const float* before, float* d_row) {
        const int64_t b = schedule.sequence[place], cell = place * width + panel * W, n_units = call.H - panel * W;
        const int64_t size = smaller(W, n_units);
        const V i = load_part(saved, n_units), f = load_part(saved + size, n_units), g = load_part(saved + 2 * size, n_units);
        const V o = load_part(saved + 3 * size, n_units), squashed = load_part(saved + 4 * size, n_units);
        const V old_c = before ? load_part(before + 5 * size, n_units)
                               : load_part(call.c0 + b * call.H + panel * W, n_units);
        V d_new_h = load(of.d_h + cell), d_new_c = load(of.d_c + cell), d_old_c{};
        if (grads.out.data) d_new_h += load_part(at(grads.out, schedule.time(call, step, place), b) + panel * W, n_units);
        if (call.zoneout) {
            const V keep_h = kept_share(call, call.keep_h, call.rate_h, step, b, panel);
            const V keep_c = kept_share(call, call.keep_c, call.rate_c, step, b, panel);
            store(of.passed + cell, keep_h * d_new_h);
            d_old_c = keep_c * d_new_c;
            d_new_h *= 1.0f - keep_h;
            d_new_c *= 1.0f - keep_c;
        }
        d_new_c += d_new_h * o * (1.0f - squashed * squashed);
        store(d_row, d_new_c * g * (i * (1.0f - i)));
        store(d_row + W, d_new_c * old_c * (f * (1.0f - f)));
        store(d_row + 2 * W, d_new_c * i * (1.0f - g * g));
        store(d_row + 3 * W, d_new_h * squashed * (o * (1.0f - o)));
        store(of.d_c + cell, d_old_c + d_new_c * f);
    }

    // sums = d_gates @ a strip of N vectors of columns; meanwhile asks for what the step before `ahead` will read, if that is not 0
    template <int R, int N>
    ALWAYS_INLINE void multiply(V (&sums)[R][N], int64_t row, const float* strip, const float* d_step, int64_t ahead) {
        for (auto& of_row : sums)
            for (V& sum : of_row) sum = V{};
        for (int64_t panel = 0; panel < n_panels; ++panel) {
            const float* d_rows[R];
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) d_rows[r] = d_step + (panel * n_chunk + row + r) * 4 * W;
            const int64_t n_units = smaller(W, call.H - panel * W);
            for (int64_t gate = 0; gate < 4 * W; gate += W) {
                if (ahead > 0) fetch<R>(ahead - 1, panel, row, gate / W);
                for (int64_t k = gate; k < gate + n_units; ++k, strip += 2 * W) {
                    V w[N];
                    for (int n = 0; n < N; ++n) w[n] = load(strip + n * W);
#pragma GCC unroll 16
                    for (int r = 0; r < R; ++r) {
                        const V d = all(d_rows[r][k]);
                        for (int n = 0; n < N; ++n) sums[r][n] += d * w[n];
                    }
                }
            }
        }
    }

    // Asks for a quarter of what R rows of a step will read, while there is work that needs no memory.
    template <int R>
    ALWAYS_INLINE void fetch(int64_t step, int64_t panel, int64_t row, int64_t quarter) const {
        const int64_t size = panel_floats(call.H - panel * W);
        const float* const saved = slice.saved(call, schedule, step, panel);
        for (int64_t r = row + quarter; r < row + R; r += 4) {
            const int64_t place = slice.place(r), b = schedule.sequence[place];
            for (int64_t k = 0; k < size; k += 16) __builtin_prefetch(saved + r * size + k);
            if (grads.out.data) __builtin_prefetch(at(grads.out, schedule.time(call, step, place), b) + panel * W);
            if (step) __builtin_prefetch(at(call.out, schedule.time(call, step - 1, place), b) + panel * W);
        }
    }

    template <int R>
    __attribute__((noinline)) void to_old_h(int64_t step, int64_t row, int64_t strip, const float* d_step) {
        if (width - strip * 2 * W > W)
            to_old_h<R, 2>(step, row, strip, d_step);
        else
            to_old_h<R, 1>(step, row, strip, d_step);
    }

    template <int R, int N>
    ALWAYS_INLINE void to_old_h(int64_t step, int64_t row, int64_t strip, const float* d_step) {
        V sums[R][N];
        multiply(sums, row, of.of_h.strip(strip), d_step, strip ? 0 : step);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
            for (int n = 0; n < N; ++n) {
                const int64_t cell = slice.place(row + r) * width + strip * 2 * W + n * W;
                V d_old = sums[r][n];
                if (of.mask) d_old *= load(of.mask + cell);
                if (of.passed) d_old += load(of.passed + cell);
                store(of.d_h + cell, d_old);
            }
    }

    void to_x() {
        for (int64_t strip = 0; strip < of.of_x.n_strips; ++strip)
            in_blocks<kRowsBack>(n_chunk, [&](auto size, int64_t row) {
                if (call.F - strip * 2 * W > W)
                    to_x<decltype(size)::value, 2>(row, strip);
                else
                    to_x<decltype(size)::value, 1>(row, strip);
            });
    }

    template <int R, int N>
    __attribute__((noinline)) void to_x(int64_t row, int64_t strip) {
        V sums[R][N];
        multiply(sums, row, of.of_x.strip(strip), d_gates, 0);
#pragma GCC unroll 16  // or Clang keeps the sums in memory
        for (int r = 0; r < R; ++r)
            for (int n = 0; n < N; ++n) {
                const int64_t column = strip * 2 * W + n * W;
                store_part(d_x[row + r] + column, sums[r][n], call.F - column);
            }
    }

    void write_inputs(int64_t step, int64_t place, float* row) {
        const int64_t b = schedule.sequence[place];
        const float* const old_h = step ? at(call.out, schedule.time(call, step - 1, place), b) : call.h0 + b * call.H;
        if (of.mask)
            for (int64_t k = 0; k < call.H; ++k) row[k] = old_h[k] * of.mask[place * width + k];
        else
            for (int64_t k = 0; k < call.H; ++k) row[k] = old_h[k];
        const float* const x = at(call.x, schedule.time(call, step, place), b);
        for (int64_t k = 0; k < call.F; ++k) row[call.H + k] = x[k];
        row[call.H + call.F] = 1.0f;
        for (int64_t k = call.H + call.F + 1; k < n_inputs; ++k) row[k] = 0.0f;
    }

    // d_weights += d_gates^T @ inputs
    void add_weight_gradients() {
        for (int64_t begin = 0; begin < n_chunk; begin += kRowsAtOnce)
            for (int64_t column = 0; column < n_inputs; column += 3 * W)
                for (int64_t k = 0; k < 4 * width; k += kColumns) {
                    const int64_t panel = k / (4 * W), gate = k % (4 * W);
                    if (panel * W + gate % W >= call.H) continue;  // units that only fill the panel
                    rest<3>(smaller(3, (n_inputs - column) / W), [&](auto size) {
                        add_outer_products<decltype(size)::value>(d_weights + k * n_inputs + column,
                                                                  d_gates + (panel * n_chunk + begin) * 4 * W + gate,
                                                                  inputs + begin * n_inputs + column,
                                                                  smaller(kRowsAtOnce, n_chunk - begin));
                    });
                }
    }

    template <int N>
    __attribute__((noinline)) void add_outer_products(float* to, const float* d, const float* input, int64_t n_rows) {
        V sums[kColumns][N];
#pragma GCC unroll 8
        for (int r = 0; r < kColumns; ++r)
            for (int n = 0; n < N; ++n) sums[r][n] = load(to + r * n_inputs + n * W);
        for (int64_t row = 0; row < n_rows; ++row, d += 4 * W, input += n_inputs) {
            V in[N];
            for (int n = 0; n < N; ++n) in[n] = load(input + n * W);
#pragma GCC unroll 8
            for (int r = 0; r < kColumns; ++r) {
                const V d_gate = all(d[r]);
                for (int n = 0; n < N; ++n) sums[r][n] += d_gate * in[n];
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < kColumns; ++r)
            for (int n = 0; n < N; ++n) store(to + r * n_inputs + n * W, sums[r][n]);
    }
};

inline void Backward::run() {
    in_parallel(n_threads, n_panels, [&](int64_t panel, int64_t) {
        of_h.pack(call.w_hh, panel);
        of_x.pack(call.w_ih, panel);
    });
    in_parallel(n_threads, slices.n, [&](int64_t i, int64_t worker) {
        BackwardSlice{*this,
                      slices.slice[i],
                      d_gates + worker * chunk_rows * 4 * width,
                      inputs + worker * chunk_rows * n_inputs,
                      d_x + worker * chunk_rows,
                      d_weights + i * 4 * width * n_inputs}
            .run();
    });
    if (wants_weights) in_parallel(n_threads, 4 * n_panels, [&](int64_t gate, int64_t) { hand_over(gate); });
}

}  // namespace
}  // namespace ISA
}  // namespace heldout
