// A state: the stored maps of one stream under one plan, and the step that brings a frame.
#pragma once

#include <memory>

#include "block.hpp"
#include "branches.hpp"
#include "plan.hpp"
#include "threads.hpp"

namespace reconv {

// The user's picture for one input: bytes (y, x, channel) with strides in bytes. Without data there is none.
struct ByteFrame {
    const uint8_t* data = nullptr;
    ptrdiff_t row = 0, pixel = 0, channel = 0;
};

class State {
public:
    // dense_only: maps share memory, every step computes everything and nothing is kept for the next.
    State(std::shared_ptr<const Plan> plan, std::shared_ptr<Threads> threads, bool dense_only, float tolerance);
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    // One frame: sources[i] is the user's array of input i, and targets[i] that of output i, while the threads are awake: of
    // a stream where it is not null, of a dense-only state where the plan stores outputs as they come, and without targets
    // it drops them. Where frames[i] has data, input i is read from it and sources[i] may be null. slots, of a stream:
    // targets are stored where the output changed, and of targets[i] as the array of slot slots[i] only the pixels that
    // moved since it was stored last. Not to be called by two threads at once.
    void step(std::span<const float* const> sources, std::span<float* const> targets = {}, std::span<const ByteFrame> frames = {},
              std::span<const int> slots = {});
    // The slot's array is another one now: all of it is to be stored. An output has two slots.
    void renew(int output, int slot);
    // Whether an input's table is a scale and a shift, computed and not looked up.
    bool scales(int input) const { return byte_inputs_.at(static_cast<size_t>(input)).scales; }
    // Input i may be frames of bytes from now on: table (channels, 256) says what a byte of each channel stands for, order
    // where in the frame a channel is. The results are those of the floats, bit for bit.
    void set_table(int input, std::span<const float> table, std::span<const int32_t> order);
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
    static constexpr int64_t kShare = 20'000;  // weighted pixels, or values, below which an op stays on one thread

    struct Cut {
        int index = -1;                // into weights_, floats; -1: not cut
        std::vector<float> deviation;
        bool fixed = false;            // set by the user
    };

    struct Arrays {
        std::span<const float* const> sources;
        std::span<float* const> targets;
    };

    struct ByteInput {
        std::vector<float> table;      // empty: takes floats only
        std::array<int32_t, kMostByteChannels> order{};
        // The table as byte * factor - shift where it is that, of 64 pixels; of three or four channels in the usual orders.
        std::array<float, 64 * kMostByteChannels> factors{}, shifts{};
        bool scales = false, shifted = false, swapped = false;
        // Of a stream, (height, width, channels). Equal bytes are equal floats.
        std::vector<uint8_t> kept;     // its last frame
        bool kept_now = false;         // kept holds the frame that this step has, or the last one had
        bool known = false;            // in this step: pixels with the bytes that are kept need no look
        std::vector<uint8_t> mirror;   // the bytes of what is stored: a quarter of the memory to compare a frame with
        bool mirrored = false;         // it holds them, before this step and after it
        bool mirrors = false, fills = false;  // in this step: it is compared with; all of the frame goes into it
    };

    bool has_frame(int input) const { return !frames_.empty() && frames_[static_cast<size_t>(input)].data; }
    void check_frames(std::span<const ByteFrame> frames) const;
    void turn_frames(std::span<const ByteFrame> frames);
    void forget_frames();
    bool load_bytes(int input, int first, int last, float* scratch);
    void load_rows(int input, const float* source, int first, int last, Threads::Session& team);
    bool load_rows(int input, const float* source, int first, int last, float* scratch);
    void store_targets(std::span<float* const> targets, std::span<const int> slots, Threads::Session& team);
    void store_moved(int output, float* array, const Bits& moved, Threads::Session& team);
    void store_rows(int output, float* array, int first, int last, Threads::Session* team, bool alone = false) const;
    void run_op(int op, Threads::Session& team);
    void run_dense(std::span<const float* const> sources, std::span<float* const> targets, Threads::Session& team);
    void run_job(const Job& job, int first, int last, Threads::Session& team);
    void run_fork(const Fork& fork, std::span<float* const> targets, Threads::Session& team);
    void run_turns(const Turns& turns, const Arrays& arrays, Threads::Session& team);
    void run_strip(const Job& job, int first, int last, const Member& member);
    void run_part(const Step& step, const Arrays& arrays, const Member& member);
    void prepare(std::span<const Step> steps, Member& member);
    void bind(int storage, int base);
    void slide(int storage, int base, int end);
    void end_rows(const Step& step);
    void point_roots(int storage, int base);
    float* row_of(int storage, int row) const;
    void dispatch(const Op& op, const Cutoff& cutoff, int64_t pixels, bool fused, Threads::Session& team);
    void dispatch_slices(const Op& op, const Task& whole, int slices, Threads::Session& team);
    void account(const Op& op, int front, int64_t pixels);
    bool estimate();
    const float* weights_of(int map) const;

    std::shared_ptr<const Plan> plan_;
    std::shared_ptr<Threads> threads_;
    bool dense_only_;
    std::shared_ptr<const MemoryPlan> dense_;              // dense only
    float tolerance_;
    Block block_;
    int64_t bytes_ = 0;
    std::vector<float*> roots_;
    std::vector<int> bases_;                               // dense only: first row of each storage
    Memory memory_;
    std::vector<uint64_t> stale_words_;
    std::vector<Bits> stale_, todo_;                       // by stale set; by op
    std::vector<uint64_t> row_;
    std::vector<Run> runs_;
    std::vector<std::vector<Run>> branch_runs_;            // dense only: by branch of a fork, or by member
    std::vector<Bits> op_inputs_;
    std::vector<float> weights_;
    std::vector<Cut> cuts_;                                // by map
    std::vector<std::array<Bits, 2>> slots_;               // by output: what moved since a slot's array was stored; or empty
    std::vector<uint64_t> slot_words_;
    std::vector<ByteInput> byte_inputs_;                   // by input; empty until one takes bytes
    std::span<const ByteFrame> frames_;                    // of this step
    bool ready_ = false, was_dense_ = false, profiling_ = false;
    int64_t recomputed_macs_ = 0;
    std::vector<double> op_seconds_;
};

}  // namespace reconv
