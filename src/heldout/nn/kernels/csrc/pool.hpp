// A small pool of threads, and memory that is kept from one call to the next.
#pragma once
#include <cstddef>
#include <cstdint>

namespace heldout {

// Calls task(context, item, worker) for the items 0 to n_items - 1, each once, and waits for all. The caller is worker 0; as many more
// as n_threads allows take what is left when they come, so that a thread which is kept waiting keeps nobody waiting. One thread
// means that no other is touched; so does a pool that is busy with a call from another thread.
void for_each(int64_t n_threads, int64_t n_items, void (*task)(void*, int64_t item, int64_t worker), void* context);

// 64-byte aligned memory. What is freed is kept for the next buffer of about its size.
class Buffer {
public:
    explicit Buffer(size_t n_floats);
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    float* data() const { return data_; }

private:
    size_t capacity_;
    float* data_;
};

}  // namespace heldout
