// A state: the stored maps of one stream under one plan, and the step that brings a frame.
#pragma once

#include <memory>

#include "plan.hpp"
#include "threads.hpp"

namespace reconv {

class State {
public:
    // dense_only: maps share memory, every step computes everything and nothing is kept for the next.
    State(std::shared_ptr<const Plan> plan, std::shared_ptr<Threads> threads, bool dense_only, float tolerance);
    ~State();
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    // One frame: sources[i] is the user's array of input i. Not to be called by two threads at once.
    void step(std::span<const float* const> sources);
    void read(int output, float* array) const;
    void reset() { ready_ = false; }

    int64_t bytes() const { return bytes_; }
    float tolerance() const { return tolerance_; }
    void set_tolerance(float tolerance);
    int64_t recomputed_macs() const { return recomputed_macs_; }
    bool was_dense() const { return was_dense_; }
    bool changed(int output) const;

    const Plan& plan() const { return *plan_; }
    Bits stale(int map) const;
    Bits todo(int op) const;
    const float* pixel(int map, int y, int x) const { return memory_.pixel(map, y, x); }
    bool dense_only() const { return dense_only_; }

    std::span<const float> deviation(int map) const;       // sigma of each channel, estimated on the dense frame
    void set_weights(int map, std::span<const float> weights);  // instead of 1 / (C sigma^2), kept over resets
    void profile(bool on);
    const std::vector<double>& op_seconds() const { return op_seconds_; }

private:
    struct Cut {
        int index = -1;                // into weights_, floats; -1: not cut
        std::vector<float> deviation;
        bool fixed = false;            // set by the user
    };

    void load_inputs(std::span<const float* const> sources, Threads::Session& team);
    void run_op(int op, Threads::Session& team);
    void dispatch(const Op& op, const Cutoff& cutoff, int64_t pixels, bool fused, Threads::Session& team);
    void account(const Op& op, int front, int64_t pixels);
    bool estimate();
    void clear_halo(const Root& root, float* memory) const;
    const float* weights_of(int map) const;

    std::shared_ptr<const Plan> plan_;
    std::shared_ptr<Threads> threads_;
    bool dense_only_;
    float tolerance_;
    float* floats_ = nullptr;
    int64_t bytes_ = 0;
    std::vector<float*> roots_;
    Memory memory_;
    std::vector<uint64_t> stale_words_;
    std::vector<Bits> stale_, todo_;                       // by stale set; by op
    std::vector<uint64_t> row_;
    std::vector<Run> runs_;
    std::vector<Bits> op_inputs_;
    std::vector<float> weights_;
    std::vector<Cut> cuts_;                                // by map
    bool ready_ = false, was_dense_ = false, profiling_ = false;
    int64_t recomputed_macs_ = 0;
    std::vector<double> op_seconds_;
};

}  // namespace reconv
