// The Python module `heldout.nn.kernels._native`: picks a kernel for this processor and hands it pointers.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "call.hpp"
#include "pool.hpp"

namespace nb = nanobind;

namespace heldout {
#if defined(__x86_64__)
namespace avx512 { extern const Kernel kernel; }
namespace avx2 { extern const Kernel kernel; }
#endif
namespace baseline { extern const Kernel kernel; }

namespace {

// Those this processor can run, the best first.
std::vector<const Kernel*> kernels() {
    std::vector<const Kernel*> runnable;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        runnable.push_back(&avx512::kernel);
    if (avx2) runnable.push_back(&avx2::kernel);
#endif
    runnable.push_back(&baseline::kernel);
    return runnable;
}

// Addresses come as whole numbers, 0 for what is not there.
template <class Item = float>
Item* pointer(size_t address) {
    return reinterpret_cast<Item*>(address);
}

using Strided = std::array<int64_t, 3>;  // address, and floats from step to step and from sequence to sequence

template <class Float>
Sequences<Float> sequences(const Strided& tensor) {
    return {pointer<Float>(static_cast<size_t>(tensor[0])), tensor[1], tensor[2]};
}

Call make_call(std::array<int64_t, 4> sizes, int threads, bool backwards, size_t lengths, const Strided& x,
               std::array<size_t, 2> state, std::array<size_t, 4> weights, size_t mask, bool zoneout,
               std::array<size_t, 2> keep, std::array<float, 2> rate, const Strided& out) {
    Call call{};
    call.T = sizes[0], call.B = sizes[1], call.F = sizes[2], call.H = sizes[3];
    call.threads = threads;
    call.backwards = backwards;
    call.lengths = pointer<int64_t>(lengths);
    call.x = sequences<const float>(x);
    call.h0 = pointer(state[0]), call.c0 = pointer(state[1]);
    call.w_ih = pointer(weights[0]), call.w_hh = pointer(weights[1]);
    call.bias_ih = pointer(weights[2]), call.bias_hh = pointer(weights[3]);
    call.mask = pointer(mask);
    call.zoneout = zoneout;
    call.keep_h = pointer(keep[0]), call.keep_c = pointer(keep[1]);
    call.rate_h = rate[0], call.rate_c = rate[1];
    call.out = sequences<float>(out);
    return call;
}

// What the backward pass needs, as a tensor: autograd frees it as it frees its own, and may keep it elsewhere meanwhile.
using Saved = nb::ndarray<nb::pytorch, float, nb::ndim<1>>;

Saved forward(const Kernel& kernel, Call& call, size_t h_n, size_t c_n, bool for_backward) {
    const size_t n_floats = for_backward ? kernel.saved_floats(call) : 0;
    auto memory = std::make_unique<Buffer>(n_floats);
    call.h_n = pointer(h_n), call.c_n = pointer(c_n);
    call.saved = for_backward ? memory->data() : nullptr;
    {
        const nb::gil_scoped_release release;
        kernel.forward(call);
    }
    float* const data = memory->data();
    const nb::capsule owner(memory.release(), [](void* buffer) noexcept { delete static_cast<Buffer*>(buffer); });
    return Saved(data, {n_floats}, owner);
}

void backward(const Kernel& kernel, Call& call, size_t saved, const Strided& d_out, std::array<size_t, 2> d_state,
              const Strided& d_x, std::array<size_t, 2> d_start, std::array<size_t, 4> d_weights) {
    call.saved = pointer(saved);
    Gradients grads{};
    grads.out = sequences<const float>(d_out);
    grads.h_n = pointer(d_state[0]), grads.c_n = pointer(d_state[1]);
    grads.x = sequences<float>(d_x);
    grads.h0 = pointer(d_start[0]), grads.c0 = pointer(d_start[1]);
    grads.w_ih = pointer(d_weights[0]), grads.w_hh = pointer(d_weights[1]), grads.bias_ih = pointer(d_weights[2]), grads.bias_hh = pointer(d_weights[3]);
    const nb::gil_scoped_release release;
    kernel.backward(call, grads);
}

}  // namespace
}  // namespace heldout

NB_MODULE(_native, module) {
    using namespace heldout;
    nb::set_leak_warnings(false);  // a graph that the interpreter still holds at its end is no leak of ours
    nb::class_<Call>(module, "Call")
        .def("__init__", [](Call* call, std::array<int64_t, 4> sizes, int threads, bool backwards, size_t lengths, const Strided& x, std::array<size_t, 2> state, std::array<size_t, 4> weights, size_t mask, bool zoneout, std::array<size_t, 2> keep, std::array<float, 2> rate, const Strided& out) {
            new (call) Call(make_call(sizes, threads, backwards, lengths, x, state, weights, mask, zoneout, keep, rate, out));
        });
    nb::class_<Kernel>(module, "Kernel")
        .def_prop_ro("isa", [](const Kernel& kernel) { return std::string(kernel.isa); })
        .def("forward", &forward)
        .def("backward", &backward);
    module.def("kernels", &kernels, nb::rv_policy::reference);
}
