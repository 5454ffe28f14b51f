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

template <class X>
struct Ratio {
    X over, under;
};

// tanh x = x P(x^2) / Q(x^2) on [-8.3, 8.3] and constant outside: a minimax fit of the relative error (9e-8), which float32
// arithmetic raises to 3.3e-7. Q lies in [1, 272], so that products of four of them are far from overflow. The other is
// sigmoid x - 1/2 = tanh(x / 2) / 2. Coefficients from the highest power down.
struct Fit {
    float limit, p[5], q[5];
};
constexpr Fit kTanh{8.3f,
                    {1.09252757e-08f, 1.89277488e-05f, 3.39592225e-03f, 1.32978529e-01f, 9.99999940e-01f},
                    {6.80482741e-07f, 3.12096439e-04f, 2.55001448e-02f, 4.66311723e-01f, 1.0f}};
constexpr Fit kSigmoid{16.6f,
                       {1.06692146e-11f, 7.39365191e-08f, 5.30612851e-05f, 8.31115805e-03f, 2.49999985e-01f},
                       {2.65813571e-09f, 4.87650686e-06f, 1.59375905e-03f, 1.16577931e-01f, 1.0f}};

template <class X>
ALWAYS_INLINE X polynomial(const float (&c)[5], X s) {
    return (((c[0] * s + c[1]) * s + c[2]) * s + c[3]) * s + c[4];
}

template <class X>
ALWAYS_INLINE Ratio<X> ratio(const Fit& fit, X x) {
    x = clamp(x, fit.limit);
    const X s = x * x;
    return {x * polynomial(fit.p, s), polynomial(fit.q, s)};
}

template <class X>
ALWAYS_INLINE X tanh(X x) {
    const Ratio<X> r = ratio(kTanh, x);
    return r.over / r.under;
}

template <class X>
struct Gates {
    X i, f, g, o;
};

// The four gates from their sums, with one division for all.
template <class X>
ALWAYS_INLINE Gates<X> activate(X i, X f, X g, X o) {
    const Ratio<X> ri = ratio(kSigmoid, i), rf = ratio(kSigmoid, f), rg = ratio(kTanh, g), ro = ratio(kSigmoid, o);
    const X left = ri.under * rf.under, right = rg.under * ro.under;
    const X inverse = 1.0f / (left * right);
    const X of_left = inverse * right, of_right = inverse * left;
    return {0.5f + ri.over * (of_left * rf.under), 0.5f + rf.over * (of_left * ri.under), rg.over * (of_right * ro.under),
            0.5f + ro.over * (of_right * rg.under)};
}

}  // namespace
}  // namespace ISA
}  // namespace heldout
