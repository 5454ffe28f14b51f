#include "pool.hpp"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace heldout {
namespace {

constexpr int kSpins = 2000;  // some 10 to 50 microseconds, the usual wait between two parts of a call

template <class Ready>
bool spin_until(Ready ready) {
    for (int i = 0; i < kSpins; ++i) {
        if (ready()) return true;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }
    return ready();
}

// What is left to do, in one word so that an item can be claimed in one step: how many may work, how many items there are, and the
// first that nobody has claimed.
struct Ticket {
    uint64_t n_workers : 16, n_items : 24, next : 24;
};
constexpr int64_t kMostWorkers = 1 << 10, kMostItems = 1 << 23;

class Pool {
public:
    bool try_acquire() { return !busy_.exchange(true, std::memory_order_acquire); }
    void release() { busy_.store(false, std::memory_order_release); }

    void run(int64_t n_threads, int64_t n_items, void (*task)(void*, int64_t, int64_t), void* context) {
        const int64_t n_workers = grow(std::min({n_threads, n_items, kMostWorkers}));
        task_ = task;
        context_ = context;
        std::fegetenv(&environment_);
        done_.store(0, std::memory_order_relaxed);
        {
            const std::lock_guard<std::mutex> lock(mutex_);  // nobody falls asleep between looking and the call
            ticket_.store({static_cast<uint64_t>(n_workers), static_cast<uint64_t>(n_items), 0}, std::memory_order_release);
        }
        wake_.notify_all();
        work(0);
        const auto all_done = [&] { return done_.load(std::memory_order_acquire) == n_items; };
        while (!spin_until(all_done)) std::this_thread::yield();
    }

private:
    int64_t grow(int64_t n_threads) {
        try {
            for (; n_started_ < n_threads - 1; ++n_started_) std::thread([this, worker = n_started_ + 1] { serve(worker); }).detach();
        } catch (const std::exception&) {  // no more threads to be had: fewer do the same work
        }
        return std::min(n_threads, n_started_ + 1);
    }

    void serve(int64_t worker) {
        const auto called = [&] { return has_work(ticket_.load(std::memory_order_relaxed), worker); };
        for (;;) {
            if (!spin_until(called)) {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, called);
            }
            work(worker);
        }
    }

    static bool has_work(Ticket ticket, int64_t worker) {
        return ticket.next < ticket.n_items && static_cast<uint64_t>(worker) < ticket.n_workers;
    }

    // The task is read after an item of it was claimed, and stays what it is until that item is done.
    void work(int64_t worker) {
        Ticket ticket = ticket_.load(std::memory_order_relaxed);
        while (has_work(ticket, worker)) {
            Ticket claimed = ticket;
            ++claimed.next;
            if (!ticket_.compare_exchange_weak(ticket, claimed, std::memory_order_acq_rel)) continue;
            if (worker) std::fesetenv(&environment_);  // denormal numbers are flushed or not, as in the caller
            task_(context_, static_cast<int64_t>(ticket.next), worker);
            done_.fetch_add(1, std::memory_order_release);
            ticket = ticket_.load(std::memory_order_relaxed);
        }
    }

    std::atomic<bool> busy_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<Ticket> ticket_{Ticket{0, 0, 0}};
    std::atomic<int64_t> done_{0};
    int64_t n_started_ = 0;
    void (*task_)(void*, int64_t, int64_t) = nullptr;
    void* context_ = nullptr;
    std::fenv_t environment_{};
};

// Freed buffers: the few sizes that a training step asks for again and again.
class Shelf {
public:
    Shelf() { kept_.reserve(kMost + 1); }  // so that put cannot fail

    float* take(size_t& n_floats) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            const auto fits = [&](const Kept& kept) { return kept.size >= n_floats && kept.size <= n_floats + n_floats / 8; };
            const auto found = std::find_if(kept_.rbegin(), kept_.rend(), fits);
            if (found != kept_.rend()) {
                const Kept kept = *found;
                kept_.erase(std::next(found).base());
                total_ -= kept.size;
                n_floats = kept.size;
                return kept.data;
            }
        }
        void* memory = std::aligned_alloc(64, n_floats * sizeof(float));
        if (!memory) {
            clear();
            memory = std::aligned_alloc(64, n_floats * sizeof(float));
        }
        if (!memory) throw std::bad_alloc();
        return static_cast<float*>(memory);
    }

    void put(float* data, size_t n_floats) {
        const std::lock_guard<std::mutex> lock(mutex_);
        kept_.push_back({data, n_floats});
        total_ += n_floats;
        while (kept_.size() > kMost || total_ > kMostFloats) {
            std::free(kept_.front().data);
            total_ -= kept_.front().size;
            kept_.erase(kept_.begin());
        }
    }

    void clear() {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (const Kept& kept : kept_) std::free(kept.data);
        kept_.clear();
        total_ = 0;
    }

    std::mutex& mutex() { return mutex_; }

private:
    static constexpr size_t kMost = 16, kMostFloats = size_t{64} << 20;  // 256 MiB
    struct Kept {
        float* data;
        size_t size;
    };
    std::mutex mutex_;
    std::vector<Kept> kept_;
    size_t total_ = 0;
};

// Neither is ever destroyed: threads may still hold them when the process ends.
Pool* pool = new Pool;
Shelf* shelf = new Shelf;

// A forked child has none of its parent's threads: it starts a pool anew and lets the old one lie. The shelf is nobody's while forking.
[[maybe_unused]] void before_fork() { shelf->mutex().lock(); }
[[maybe_unused]] void after_fork() { shelf->mutex().unlock(); }
[[maybe_unused]] void after_fork_in_child() {
    after_fork();
    pool = new Pool;
}

#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const int registered = pthread_atfork(before_fork, after_fork, after_fork_in_child);
#endif

}  // namespace

void for_each(int64_t n_threads, int64_t n_items, void (*task)(void*, int64_t, int64_t), void* context) {
    Pool* const mine = pool;
    if (n_threads <= 1 || n_items <= 1 || n_items >= kMostItems || !mine->try_acquire()) {
        for (int64_t item = 0; item < n_items; ++item) task(context, item, 0);
        return;
    }
    mine->run(n_threads, n_items, task, context);
    mine->release();
}

Buffer::Buffer(size_t n_floats) : capacity_((n_floats / 1024 + 1) * 1024), data_(shelf->take(capacity_)) {}

Buffer::~Buffer() { shelf->put(data_, capacity_); }

}  // namespace heldout
