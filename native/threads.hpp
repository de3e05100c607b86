// A team of threads that parks: inside a step its members wait for the next op on the processor for a moment, between
// steps they sleep, so that a camera at ten frames a second does not burn a core.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace reconv {

// One of `count` threads that go through the same work side by side.
class Member {
public:
    int id, count;
    float* scratch;
    // Until every member is here; what each has written before is seen by all afterwards.
    void wait();

private:
    friend class Threads;
    struct alignas(64) Line {
        std::atomic<uint32_t> reached{0};
    };
    Member(int id, int count, float* scratch, Line* lines) : id(id), count(count), scratch(scratch), lines_(lines) {}
    Line* lines_;
    uint32_t waits_ = 0;
};

class Threads {
public:
    explicit Threads(int count);  // including the caller's; 1 .. 64
    ~Threads();
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

    int count() const { return static_cast<int>(workers_.size()) + 1; }

    // Held for the length of a step. Where another step has the team, this one runs on its caller alone.
    class Session {
    public:
        explicit Session(Threads& team);
        ~Session();
        Session(const Session&) = delete;
        Session& operator=(const Session&) = delete;
        int count() const { return owned_ ? team_.count() : 1; }
        // Runs work on the caller and on every member that comes before the caller is through, and returns when all of
        // them are: `work` takes pieces from a shared counter until none is left, so a member whose processor is busy
        // elsewhere is not waited for. `work` must not throw.
        // Each gets scratch of its own, as large as was reserved, 64-byte aligned.
        void run(const std::function<void(float*)>& work);
        // Runs work on the caller and on those members that come within a moment, all of them at once: there is no other
        // way to hand work over than `Member::wait`, which costs a fraction of what `run` does. `work` must not throw,
        // must call `wait` equally often on every member, and must do all there is to do however many they are.
        void together(const std::function<void(Member&)>& work);
        // Makes room for `floats` of scratch on every member. Throws std::bad_alloc and then has changed nothing.
        void reserve(int64_t floats);
        float* scratch() const;  // the caller's own

    private:
        Threads& team_;
        bool owned_;
    };

private:
    // Belongs to a thread, not to a state: it grows to the largest plan that the thread has worked on.
    struct Scratch {
        float* data = nullptr;
        int64_t floats = 0;
        Scratch() = default;
        Scratch(const Scratch&) = delete;
        Scratch& operator=(const Scratch&) = delete;
        ~Scratch();
        void reserve(int64_t wanted);
    };
    static Scratch& callers_scratch();
    void worker(int id);
    // Lets the members run on every allowed processor but the caller's. A kernel that sees a virtual processor halted
    // takes it for busy and wakes a member beside its caller, where it only gets what the caller leaves: a step of 1.6 ms
    // then took 2.7.
    void keep_off_callers_processor();

    std::vector<std::thread> workers_;
    std::vector<std::unique_ptr<Scratch>> scratch_;  // of each worker
    std::mutex busy_;
#if defined(__linux__)
    int callers_processor_ = -1;  // this and the next are the session's
    bool kept_off_ = false;
    cpu_set_t allowed_{}, left_{};  // where members may run, and that without the caller's processor
#endif
    std::atomic<uint32_t> generation_{0};  // every change wakes the workers
    std::atomic<uint64_t> offered_{0};     // bit per member that may still join; taking one's bit is the permission to run
    std::atomic<int> finished_{0};         // members that joined and are through
    std::atomic<bool> in_step_{false}, stop_{false};
    const std::function<void(float*)>* work_ = nullptr;
};

// Processors this process may use: its affinity, cut by the control group's quota (version 2 or 1); at least 1.
int default_threads();

}  // namespace reconv
