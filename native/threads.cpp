#include "threads.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <new>
#include <stdexcept>
#include <string>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace reconv {
namespace {

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

constexpr int kMost = 64;      // threads of a team
constexpr int kSpins = 20000;  // pauses before a member of a running step gives up its processor (about half a millisecond)

double cgroup_quota() {
    std::string quota;
    double period = 0;
    if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period && quota != "max" && period > 0)
        return std::atof(quota.c_str()) / period;
    double microseconds = 0;
    std::ifstream v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (v1 >> microseconds && v1_period >> period && microseconds > 0 && period > 0) return microseconds / period;
    return 0;
}

}  // namespace

Threads::Threads(int count) {
    if (count < 1 || count > kMost) throw std::invalid_argument("a team has 1 to " + std::to_string(kMost) + " threads, not " + std::to_string(count));
    for (int id = 1; id < count; id++) scratch_.push_back(std::make_unique<Scratch>());
    for (int id = 1; id < count; id++) workers_.emplace_back([this, id] { worker(id); });
}

Threads::~Threads() {
    stop_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
    for (auto& thread : workers_) thread.join();
}

void Threads::worker(int id) {
    uint32_t seen = 0;
    for (;;) {
        int spins = 0;
        while (generation_.load(std::memory_order_acquire) == seen) {
            if (in_step_.load(std::memory_order_relaxed) && ++spins < kSpins)
                relax();
            else
                generation_.wait(seen, std::memory_order_acquire);
        }
        // In this order: who has seen the end's generation sees that it is the end, and who has not will be woken by it.
        seen = generation_.load(std::memory_order_acquire);
        if (stop_.load()) return;
        const uint64_t mine = uint64_t{1} << id;
        if (offered_.fetch_and(~mine, std::memory_order_acq_rel) & mine) {
            (*work_)(scratch_[id - 1]->data);
            finished_.fetch_add(1, std::memory_order_release);
        }
    }
}

Threads::Scratch::~Scratch() { std::free(data); }

void Threads::Scratch::reserve(int64_t wanted) {
    if (wanted <= floats) return;
    auto* larger = static_cast<float*>(std::aligned_alloc(64, (static_cast<size_t>(wanted) * 4 + 127) / 64 * 64));
    if (!larger) throw std::bad_alloc();
    std::free(data);
    data = larger;
    floats = wanted;
}

Threads::Scratch& Threads::callers_scratch() {
    thread_local Scratch scratch;
    return scratch;
}

void Threads::keep_off_callers_processor() {
#if defined(__linux__)
    const int here = sched_getcpu();
    if (here == callers_processor_ || here < 0 || here >= CPU_SETSIZE) return;
    callers_processor_ = here;
    cpu_set_t now;
    if (pthread_getaffinity_np(workers_.front().native_handle(), sizeof now, &now) != 0) return;  // more than a set holds
    if (!kept_off_ || !CPU_EQUAL(&now, &left_)) allowed_ = now;  // somebody else has said where the members may run
    left_ = allowed_;
    CPU_CLR(here, &left_);
    if (CPU_COUNT(&left_) == 0) left_ = allowed_;
    kept_off_ = true;
    for (auto& thread : workers_) pthread_setaffinity_np(thread.native_handle(), sizeof left_, &left_);
#endif
}

Threads::Session::Session(Threads& team) : team_(team), owned_(!team.workers_.empty() && team.busy_.try_lock()) {
    if (owned_) team.keep_off_callers_processor();
}

Threads::Session::~Session() {
    if (!owned_) return;
    team_.in_step_.store(false, std::memory_order_relaxed);
    team_.busy_.unlock();
}

void Threads::Session::reserve(int64_t floats) {
    callers_scratch().reserve(floats);
    if (!owned_) return;
    for (auto& scratch : team_.scratch_) scratch->reserve(floats);
}

float* Threads::Session::scratch() const { return callers_scratch().data; }

void Threads::Session::run(const std::function<void(float*)>& work) {
    if (!owned_) return work(scratch());
    team_.in_step_.store(true, std::memory_order_relaxed);  // a step that shares nothing wakes nobody
    team_.work_ = &work;
    team_.finished_.store(0, std::memory_order_relaxed);
    const uint64_t members = (~uint64_t{0} >> (64 - team_.count())) & ~uint64_t{1};
    team_.offered_.store(members, std::memory_order_release);
    team_.generation_.fetch_add(1, std::memory_order_release);
    team_.generation_.notify_all();
    work(scratch());
    const uint64_t joined = members & ~team_.offered_.exchange(0, std::memory_order_acq_rel);
    int spins = 0;
    while (team_.finished_.load(std::memory_order_acquire) != std::popcount(joined)) {
        relax();
        if (++spins > kSpins) std::this_thread::yield();  // fewer processors than threads
    }
}

void Member::wait() {
    lines_[id].reached.store(++waits_, std::memory_order_release);
    for (int other = 0; other < count; other++)
        for (int spins = 0; static_cast<int32_t>(lines_[other].reached.load(std::memory_order_acquire) - waits_) < 0; spins++) {
            relax();
            if (spins > kSpins) std::this_thread::yield();  // fewer processors than threads
        }
}

void Threads::Session::together(const std::function<void(Member&)>& work) {
    std::array<Member::Line, kMost> lines;
    if (!owned_) {
        Member only(0, 1, scratch(), lines.data());
        return work(only);
    }
    constexpr int kClosed = 1 << 16;
    std::atomic<int> came{0}, count{0};
    const std::thread::id caller = std::this_thread::get_id();
    run([&](float* scratch) {
        int id = 0;
        if (std::this_thread::get_id() == caller) {
            for (int spins = 0; spins < kSpins && came.load(std::memory_order_relaxed) < team_.count() - 1; spins++) relax();
            count.store(came.fetch_add(kClosed, std::memory_order_acq_rel) + 1, std::memory_order_release);
        } else {
            id = came.fetch_add(1, std::memory_order_acq_rel) + 1;
            if (id > kClosed) return;
            for (int spins = 0; count.load(std::memory_order_acquire) == 0; spins++) {
                relax();
                if (spins > kSpins) std::this_thread::yield();
            }
        }
        Member member(id, count.load(std::memory_order_acquire), scratch, lines.data());
        work(member);
    });
}

int default_threads() {
    int count = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
    if (const double quota = cgroup_quota(); quota > 0) count = std::min(count, static_cast<int>(std::ceil(quota)));
    return std::clamp(count, 1, kMost);
}

}  // namespace reconv
