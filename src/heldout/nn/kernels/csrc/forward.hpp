// The recurrence forward in time.
#pragma once
#include "schedule.hpp"

namespace heldout {
namespace ISA {
namespace {

// The width of the vectors for a panel: a last one that is at most half full has narrow ones.
ALWAYS_INLINE int64_t panel_width(int64_t n_units) { return n_units > kWidth<Narrow> ? W : kWidth<Narrow>; }

// The weights as the blocks read them: for each panel of W units and each input, a vector of every gate. Units past H are 0.
struct GateWeights {
    float *of_x, *of_h, *bias;  // (panels, F, 4W), (panels, H, 4W), (panels, 4W)

    GateWeights(const Call& call, int64_t n_panels, Arena& arena)
        : of_x(arena.floats(n_panels * call.F * 4 * W)),
          of_h(arena.floats(n_panels * call.H * 4 * W)),
          bias(arena.floats(n_panels * 4 * W)) {}

    void pack(const Call& call, int64_t panel) {
        const int64_t width = panel_width(call.H - panel * W);
        for (int64_t k = 0; k < 4 * width; ++k) {
            const int64_t unit = panel * W + k % width, row = k / width * call.H + unit;
            const bool real = unit < call.H;
            float* const x = of_x + panel * call.F * 4 * W + k;
            float* const h = of_h + panel * call.H * 4 * W + k;
            for (int64_t j = 0; j < call.F; ++j) x[j * 4 * width] = real ? call.w_ih[row * call.F + j] : 0.0f;
            for (int64_t j = 0; j < call.H; ++j) h[j * 4 * width] = real ? call.w_hh[row * call.H + j] : 0.0f;
            bias[panel * 4 * W + k] = real && call.bias_ih ? call.bias_ih[row] + call.bias_hh[row] : 0.0f;
        }
    }
};

// sums[r][gate] += rows[r] . weights
template <class X, int R>
ALWAYS_INLINE void add_products(X (&sums)[R][4], const float* const (&rows)[R], const float* weights, int64_t n_inputs) {
    constexpr int width = kWidth<X>;
    for (int64_t k = 0; k < n_inputs; ++k, weights += 4 * width) {
        const X w0 = load<X>(weights), w1 = load<X>(weights + width);
        const X w2 = load<X>(weights + 2 * width), w3 = load<X>(weights + 3 * width);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const X input = all<X>(rows[r][k]);
            sums[r][0] += input * w0;
            sums[r][1] += input * w1;
            sums[r][2] += input * w2;
            sums[r][3] += input * w3;
        }
    }
}

struct Forward {
    const Call& call;
    const int64_t n_threads, n_panels, width;  // width: H filled up to whole panels
    const Schedule schedule;
    const Slices slices;
    GateWeights weights;
    // (B, width) by place; two of each where a step reads the old one while it writes the new one. `fed` is what goes into the gates.
    float *h[2], *fed[2], *c, *mask;

    Forward(const Call& call, Arena& arena)
        : call(call),
          n_threads(useful_threads(call)),
          n_panels((call.H + W - 1) / W),
          width(n_panels * W),
          schedule(call, arena),
          slices(call),
          weights(call, n_panels, arena) {
        const int64_t n = call.B * width;
        for (float*& state : h) state = arena.floats(n);
        for (int i = 0; i < 2; ++i) fed[i] = call.mask ? arena.floats(n) : h[i];
        c = arena.floats(n);
        mask = call.mask ? arena.floats(n) : nullptr;
    }

    void run() {
        in_parallel(n_threads, n_panels, [&](int64_t panel, int64_t) { weights.pack(call, panel); });
        if (n_threads == 1)
            through_time(slices.slice, slices.slice + slices.n);  // together: they share the weights in the cache
        else
            in_parallel(n_threads, slices.n, [&](int64_t i, int64_t) { through_time(slices.slice + i, slices.slice + i + 1); });
    }

private:
    void through_time(const Slice* first, const Slice* last) {
        for (const Slice* slice = first; slice < last; ++slice)
            for (int64_t row = 0; row < slice->count; ++row) start(slice->place(row));
        for (int64_t step = 0; step < call.T; ++step) {
            for (int64_t panel = 0; panel < n_panels; ++panel)
                for (const Slice* slice = first; slice < last; ++slice)
                    in_blocks<kRows>(slice->up_to(schedule.active[step]), [&](auto size, int64_t row) {
                        if (panel_width(call.H - panel * W) == W)
                            block<V, decltype(size)::value>(*slice, step, panel, row);
                        else
                            block<Narrow, decltype(size)::value>(*slice, step, panel, row);
                    });
            for (const Slice* slice = first; slice < last; ++slice)
                for (int64_t row = slice->up_to(schedule.active[step + 1]); row < slice->up_to(schedule.active[step]); ++row)
                    finish(slice->place(row), step + 1);
        }
    }

    void start(int64_t place) {
        const int64_t b = schedule.sequence[place];
        for (int64_t k = 0; k < width; ++k) {
            const bool real = k < call.H;
            const int64_t cell = place * width + k;
            h[0][cell] = real ? call.h0[b * call.H + k] : 0.0f;
            c[cell] = real ? call.c0[b * call.H + k] : 0.0f;
            if (!mask) continue;
            mask[cell] = real ? call.mask[b * call.H + k] : 0.0f;
            fed[0][cell] = h[0][cell] * mask[cell];
        }
        for (int64_t t = schedule.length[place]; t < call.T; ++t) std::memset(at(call.out, t, b), 0, call.H * sizeof(float));
        if (!schedule.length[place]) finish(place, 0);
    }

    void finish(int64_t place, int64_t n_steps) {
        const int64_t b = schedule.sequence[place];
        std::memcpy(call.h_n + b * call.H, h[n_steps % 2] + place * width, call.H * sizeof(float));
        std::memcpy(call.c_n + b * call.H, c + place * width, call.H * sizeof(float));
    }

    // R rows of one panel: their gates stay in registers until the new h and c are made of them.
    template <class X, int R>
    __attribute__((noinline)) void block(const Slice& slice, int64_t step, int64_t panel, int64_t row) {
        X sums[R][4];
        const float *x_rows[R], *h_rows[R];
        const float* const bias = weights.bias + panel * 4 * W;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const int64_t place = slice.place(row + r);
            x_rows[r] = at(call.x, schedule.time(call, step, place), schedule.sequence[place]);
            h_rows[r] = fed[step % 2] + place * width;
            for (int gate = 0; gate < 4; ++gate) sums[r][gate] = load<X>(bias + gate * kWidth<X>);
        }
        add_products(sums, x_rows, weights.of_x + panel * call.F * 4 * W, call.F);
        add_products(sums, h_rows, weights.of_h + panel * call.H * 4 * W, call.H);
        float* const saved = call.saved ? slice.saved(call, schedule, step, panel) + row * panel_floats(call.H - panel * W) : nullptr;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
            keep(activate(sums[r][0], sums[r][1], sums[r][2], sums[r][3]), step, panel, slice.place(row + r),
                 saved ? saved + r * panel_floats(call.H - panel * W) : nullptr);
    }

    template <class X>
    ALWAYS_INLINE void keep(const Gates<X>& gates, int64_t step, int64_t panel, int64_t place, float* saved) {
        const int64_t b = schedule.sequence[place], cell = place * width + panel * W;
        const int64_t n_units = call.H - panel * W;
        const X old_c = load<X>(c + cell);
        X new_c = gates.f * old_c + gates.i * gates.g;
        const X squashed = tanh(new_c);
        X new_h = gates.o * squashed;
        if (call.zoneout) {
            const X keep_h = kept_share<X>(call, call.keep_h, call.rate_h, step, b, panel);
            const X keep_c = kept_share<X>(call, call.keep_c, call.rate_c, step, b, panel);
            new_h = keep_h * load<X>(h[step % 2] + cell) + (1.0f - keep_h) * new_h;
            new_c = keep_c * old_c + (1.0f - keep_c) * new_c;
        }
        store(c + cell, new_c);
        store(h[(step + 1) % 2] + cell, new_h);
        if (mask) store(fed[(step + 1) % 2] + cell, new_h * load<X>(mask + cell));
        store_part(at(call.out, schedule.time(call, step, place), b) + panel * W, new_h, n_units);
        if (!saved) return;
        const int64_t size = smaller(W, n_units);
        store_part(saved, gates.i, n_units);
        store_part(saved + size, gates.f, n_units);
        store_part(saved + 2 * size, gates.g, n_units);
        store_part(saved + 3 * size, gates.o, n_units);
        store_part(saved + 4 * size, squashed, n_units);
        store_part(saved + 5 * size, new_c, n_units);
    }
};

}  // namespace
}  // namespace ISA
}  // namespace heldout
