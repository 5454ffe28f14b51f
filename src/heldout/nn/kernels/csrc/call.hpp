// What one call of the layer hands to a kernel: plain pointers to float32 tensors, and their sizes.
// Axes as in Python: T time, B batch, F features, H hidden units. Gates in torch's order i, f, g, o.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heldout {

// A tensor of shape (T, B, width), dense in its last axis.
template <class Float>
struct Sequences {
    Float* data = nullptr;
    int64_t step = 0, row = 0;  // floats from one time step, and from one sequence, to the next
};

struct Call {
    int64_t T, B, F, H;
    int threads;
    bool backwards;          // each sequence is read from its end
    const int64_t* lengths;  // (B), 0 to T; null: all are T

    Sequences<const float> x;
    const float *h0, *c0;            // (B, H)
    const float *w_ih, *w_hh;        // (4H, F), (4H, H)
    const float *bias_ih, *bias_hh;  // (4H), or null
    const float* mask;               // (B, H): multiplies h on its way into the gates; or null
    bool zoneout;
    const float *keep_h, *keep_c;  // (T, B, H), by processing step: the share of the old h and c that is kept; or null:
    float rate_h, rate_c;          // ... the share at every step

    Sequences<float> out;
    float *h_n, *c_n;  // (B, H)
    float* saved;      // what the backward pass needs, `saved_floats` long; null: no gradient is wanted
};

// Null: not wanted (results), or zero (gradients that come in).
struct Gradients {
    Sequences<const float> out;
    const float *h_n, *c_n;  // (B, H)
    Sequences<float> x;
    float *h0, *c0;            // (B, H)
    float *w_ih, *w_hh;        // (4H, F), (4H, H)
    float *bias_ih, *bias_hh;  // (4H)
};

struct Kernel {
    const char* isa;
    size_t (*saved_floats)(const Call&);
    void (*forward)(const Call&);
    void (*backward)(const Call&, const Gradients&);
};

}  // namespace heldout
