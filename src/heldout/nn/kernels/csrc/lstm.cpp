// The kernel of one instruction set, ISA: compiled once for each, with the flags of that set.
#include "backward.hpp"
#include "forward.hpp"

namespace heldout {
namespace ISA {
namespace {

void forward(const Call& call) {
    Arena counted{nullptr};
    Forward(call, counted);
    const Buffer memory(counted.used);
    Arena arena{memory.data()};
    Forward(call, arena).run();
}

void backward(const Call& call, const Gradients& grads) {
    Arena counted{nullptr};
    Backward(call, grads, counted);
    const Buffer memory(counted.used);
    Arena arena{memory.data()};
    Backward(call, grads, arena).run();
}

size_t saved_floats(const Call& call) {
    int64_t n_rows = call.lengths ? 0 : call.T * call.B;
    for (int64_t b = 0; call.lengths && b < call.B; ++b) n_rows += call.lengths[b];
    return n_rows * row_floats(call.H);
}

}  // namespace

#define AS_TEXT(name) #name
#define TEXT(name) AS_TEXT(name)
extern const Kernel kernel{TEXT(ISA), saved_floats, forward, backward};

}  // namespace ISA
}  // namespace heldout
