// What a plan costs: multiply-adds, weights, and the room of its states.
#include <algorithm>

#include "memory.hpp"
#include "plan.hpp"

namespace reconv {
namespace {

constexpr int kListedRuns = 8192;  // at the most in one list of stale runs, unless a single row has more

}  // namespace

int64_t Plan::macs(int op) const {
    const Map& o = maps_[ops_[op]->out];
    return ops_[op]->macs_per_pixel * o.height * o.width;
}

int64_t Plan::macs() const {
    int64_t total = 0;
    for (int i = 0; i < static_cast<int>(ops_.size()); i++) total += macs(i);
    return total;
}

int64_t Plan::weight_bytes() const {
    int64_t total = 0;
    std::vector<const Packed*> counted;
    for (const auto& op : ops_) {
        total += op->bytes();
        const Packed* shared = op->shared_weights();
        if (!shared || std::find(counted.begin(), counted.end(), shared) != counted.end()) continue;
        counted.push_back(shared);
        total += shared->bytes();
    }
    return total;
}

int64_t Plan::stale_words() const {
    int64_t words = 0;
    for (const Map& m : maps_)
        if (m.view != View::channels) words += static_cast<int64_t>(m.height) * words_for(m.width);
    for (const auto& op : ops_) {  // what each op recomputed
        const Map& m = maps_[op->out];
        words += static_cast<int64_t>(m.height) * words_for(m.width);
    }
    return words;
}

int Plan::band_rows(int width) const { return std::max(kListedRuns / ((width + 1) / 2), 1); }

int64_t Plan::most_runs() const {
    int64_t most = 1;
    for (const Map& m : maps_) {
        const int64_t rows = std::min(m.height, band_rows(m.width));
        most = std::max({most, static_cast<int64_t>(m.height), rows * ((m.width + 1) / 2)});
    }
    return most;
}

int64_t Plan::weight_floats() const {
    int64_t total = 0;
    for (int id : cut_maps_) total += padded(maps_[id]);
    return total;
}

int64_t Plan::most_inputs() const {
    size_t most = 0;
    for (const auto& op : ops_) most = std::max(most, op->inputs.size());
    return static_cast<int64_t>(most);
}

int64_t Plan::memory_floats(bool dense_only) const { return dense_only ? memory_->floats : stream_floats_; }

int64_t Plan::dense_overhead_bytes(int threads) const {
    int64_t floats = threads * scratch_floats(true);
    for (const Border& b : outputs_) {
        const Map& m = maps_[b.map];
        floats += static_cast<int64_t>(m.height) * m.width * m.channels;
    }
    return floats * 4;
}

int64_t Plan::dense_peak_bytes(int threads) const { return memory_->floats * 4 + dense_overhead_bytes(threads); }

int64_t Plan::state_bytes(bool dense_only) const {
    if (dense_only) return memory_->floats * 4;
    const auto ops = static_cast<int64_t>(ops_.size());
    int64_t floats = stream_floats_ + weight_floats();
    for (int id : cut_maps_) floats += maps_[id].depth();  // deviations
    return floats * 4 + (stale_words() + row_words_ + ops) * 8 + most_runs() * static_cast<int64_t>(sizeof(Run)) +
           (stale_sets_ + ops + most_inputs()) * static_cast<int64_t>(sizeof(Bits));
}

}  // namespace reconv
