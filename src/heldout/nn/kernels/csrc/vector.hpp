// A vector of floats as wide as the instruction set has them, and the two gate functions on it.
//
// Included once for each instruction set, each time in a namespace of its own (ISA). Nothing here may call an inline function
// of the standard library: the linker would keep one copy of it for all sets, perhaps one that this processor cannot run.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "call.hpp"
#include "pool.hpp"

namespace heldout {
namespace ISA {
namespace {

#if defined(__AVX512F__)
constexpr int W = 16;  // floats in a vector
#elif defined(__AVX__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = 6;       // of a block of gates: kRows x 4 sums stay in registers, 32 there are
constexpr int kRowsBack = 12;  // of a block of d h: x 2 vectors
constexpr int kColumns = 8;    // of a block of weight gradients: x 3 vectors
#else
constexpr int kRows = 3;  // 16 registers
constexpr int kRowsBack = 6;
constexpr int kColumns = 4;
#endif

template <int n>
struct Floats {
    typedef float vector __attribute__((vector_size(4 * n)));
};
using V = Floats<W>::vector;
using Narrow = Floats<W == 4 ? W : W / 2>::vector;  // for a last panel that is at most half full

template <class X>
constexpr int kWidth = sizeof(X) / sizeof(float);

#define ALWAYS_INLINE inline __attribute__((always_inline))

ALWAYS_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
ALWAYS_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
ALWAYS_INLINE int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

template <class X = V>
ALWAYS_INLINE X load(const float* p) {
    X x;
    std::memcpy(&x, p, sizeof x);
    return x;
}

template <class X>
ALWAYS_INLINE void store(float* p, X x) {
    std::memcpy(p, &x, sizeof x);
}

template <class X = V>
ALWAYS_INLINE X all(float x) {
    return x - X{};
}

template <class Float>
ALWAYS_INLINE Float* at(const Sequences<Float>& x, int64_t t, int64_t b) {
    return x.data + t * x.step + b * x.row;
}

// The first n floats, or a vector full of them if n is more, and 0 behind; and back.
template <class X = V>
ALWAYS_INLINE X load_part(const float* p, int64_t n) {
    if (n >= kWidth<X>) return load<X>(p);
#if defined(__AVX512F__)
    if constexpr (kWidth<X> == 16)
        return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
    else
        return _mm256_maskz_loadu_ps(static_cast<__mmask8>((1u << n) - 1), p);
#else
    X x{};
    for (int64_t i = 0; i < n; ++i) x[i] = p[i];
    return x;
#endif
}

template <class X>
ALWAYS_INLINE void store_part(float* p, X x, int64_t n) {
    if (n >= kWidth<X>) return store(p, x);
#if defined(__AVX512F__)
    if constexpr (kWidth<X> == 16)
        _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), x);
    else
        _mm256_mask_storeu_ps(p, static_cast<__mmask8>((1u << n) - 1), x);
#else
    for (int64_t i = 0; i < n; ++i) p[i] = x[i];
#endif
}

// Not a number stays not a number, which is why the order of the operands matters: a diverged fit must show.
template <class X>
ALWAYS_INLINE X clamp(X x, float limit) {
#if defined(__AVX512F__)
    if constexpr (kWidth<X> == 16)
        return _mm512_max_ps(all<X>(-limit), _mm512_min_ps(all<X>(limit), x));
    else
        return _mm256_max_ps(all<X>(-limit), _mm256_min_ps(all<X>(limit), x));
#else
    x = x > limit ? all<X>(limit) : x;
    return x < -limit ? all<X>(-limit) : x;
#endif
}

// tanh x = x P(x^2) / Q(x^2), a minimax fit of the relative error on [-8.3, 8.3] (9e-8), which float32 arithmetic raises to 3.3e-7;
// from 8 on it is 1, as a gate that is shut passes no gradient. Q lies in [1, 224].
template <class X>
struct Tanh {
    X x, over, under;

    ALWAYS_INLINE explicit Tanh(X sum) : x(clamp(sum, 8.0f)) {
        const X s = x * x;
        over = x * ((((1.09252757e-08f * s + 1.89277488e-05f) * s + 3.39592225e-03f) * s + 1.32978529e-01f) * s + 9.99999940e-01f);
        under = (((6.80482741e-07f * s + 3.12096439e-04f) * s + 2.55001448e-02f) * s + 4.66311723e-01f) * s + 1.0f;
    }
    ALWAYS_INLINE X value(X inverse_of_under) const { return x * x >= 64.0f ? x * 0.125f : over * inverse_of_under; }
};

template <class X>
ALWAYS_INLINE X tanh(X x) {
    const Tanh<X> t(x);
    return t.value(1.0f / t.under);
}

// e^x on [-43, 43] with a relative error of 2e-7: 2^n e^f with |f| <= log(2) / 2, and a minimax polynomial for e^f.
template <class X>
ALWAYS_INLINE X exponential(X x) {
    X n = x * 1.44269504f;
#if defined(__AVX512F__)
    if constexpr (kWidth<X> == 16)
        n = _mm512_roundscale_ps(n, _MM_FROUND_TO_NEAREST_INT);
    else
        n = _mm256_roundscale_ps(n, _MM_FROUND_TO_NEAREST_INT);
#else
    const X shifted = n + 12582912.0f;  // 1.5 x 2^23: the sum has no places left for a fraction, and n in its last bits
    n = shifted - 12582912.0f;
#endif
    const X f = (x - n * 0.693359375f) + n * 2.12194440e-04f;
    const X p = ((((8.25969409e-03f * f + 4.19029854e-02f) * f + 1.66681349e-01f) * f + 4.99991417e-01f) * f + 9.99999583e-01f) * f + 1.0f;
#if defined(__AVX512F__)
    if constexpr (kWidth<X> == 16)
        return _mm512_scalef_ps(p, n);
    else
        return _mm256_scalef_ps(p, n);
#else
    typedef int32_t Bits __attribute__((vector_size(sizeof(X))));
    return p * (X)(((Bits)shifted + 127) << 23);
#endif
}

// 1 / sigmoid x = 1 + e^-x, which keeps the small values of the sigmoid exact. At most 5e18, so that a product of two is finite.
template <class X>
ALWAYS_INLINE X inverse_sigmoid(X x) {
    return 1.0f + exponential(-clamp(x, 43.0f));
}

template <class X>
struct Gates {
    X i, f, g, o;
};

// The four gates from their sums, with a division for each two.
template <class X>
ALWAYS_INLINE Gates<X> activate(X i, X f, X g, X o) {
    const X under_i = inverse_sigmoid(i), under_f = inverse_sigmoid(f), under_o = inverse_sigmoid(o);
    const Tanh<X> of_g(g);
    const X i_f = 1.0f / (under_i * under_f), g_o = 1.0f / (of_g.under * under_o);
    return {i_f * under_f, i_f * under_i, of_g.value(g_o * under_o), g_o * of_g.under};
}

}  // namespace
}  // namespace ISA
}  // namespace heldout
