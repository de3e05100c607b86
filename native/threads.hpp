// A team of threads that parks: inside a step its members wait for the next op on the processor for a moment, between
// steps they sleep, so that a camera at ten frames a second does not burn a core.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace reconv {

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
        // Runs work(0) .. work(count() - 1), each on a thread of its own, and returns when all are done.
        // `work` must not throw.
        void run(const std::function<void(int)>& work);

    private:
        Threads& team_;
        bool owned_;
    };

private:
    void worker(int id);

    std::vector<std::thread> workers_;
    std::mutex busy_;
    std::atomic<uint32_t> generation_{0};  // every change wakes the workers
    std::atomic<uint64_t> running_{0};     // bit per member that has work left; the bit is the permission to run it
    std::atomic<bool> in_step_{false}, stop_{false};
    const std::function<void(int)>* work_ = nullptr;
};

// Processors this process may use: its affinity, cut by the control group's quota (version 2 or 1); at least 1.
int default_threads();

}  // namespace reconv
