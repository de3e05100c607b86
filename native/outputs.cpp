// What a step gives: a state's outputs in the arrays of its user, whole or brought up to date.
#include <algorithm>
#include <functional>
#include <stdexcept>

#include "state.hpp"

namespace reconv {

void State::read(int output, float* array) const {
    if (dense_only_ && dense_->work.stores) throw std::invalid_argument("the step has stored the outputs");
    store_rows(output, array, 0, memory_.map(plan_->outputs().at(output).map).height, nullptr);
}

void State::renew(int output, int slot) {
    if (dense_only_) throw std::invalid_argument("a dense-only state has no slots");
    if (output < 0 || output >= static_cast<int>(plan_->outputs().size()) || slot < 0 || slot > 1) throw std::invalid_argument("no such slot");
    if (slots_.empty()) {
        int64_t words = 0;
        const auto map_of = [this](size_t o) -> const Map& { return memory_.map(plan_->outputs()[o].map); };
        for (size_t o = 0; o < plan_->outputs().size(); o++) words += 2 * static_cast<int64_t>(map_of(o).height) * words_for(map_of(o).width);
        slot_words_.assign(static_cast<size_t>(words), 0);
        slots_.resize(plan_->outputs().size());
        bytes_ += words * 8;
        uint64_t* next = slot_words_.data();
        for (size_t o = 0; o < slots_.size(); o++)
            for (Bits& bits : slots_[o]) {
                bits = {next, map_of(o).height, map_of(o).width, words_for(map_of(o).width)};
                bits.fill();
                next += static_cast<int64_t>(bits.height) * bits.row_words;
            }
    }
    slots_[static_cast<size_t>(output)][static_cast<size_t>(slot)].fill();
}

void State::store_targets(std::span<float* const> targets, std::span<const int> slots, Threads::Session& team) {
    for (size_t i = 0; i < slots_.size(); i++)
        for (const Bits& bits : slots_[i]) bits.unite(stale_[memory_.map(plan_->outputs()[i].map).stale]);
    for (size_t i = 0; i < targets.size(); i++) {
        const int output = static_cast<int>(i), height = memory_.map(plan_->outputs()[i].map).height;
        if (!targets[i] || (!slots.empty() && !changed(output))) continue;
        if (slots.empty()) {
            store_rows(output, targets[i], 0, height, &team);
            continue;
        }
        const Bits& moved = slots_[i][static_cast<size_t>(slots[i])];
        if (moved.count() * 2 > static_cast<int64_t>(moved.height) * moved.width) store_rows(output, targets[i], 0, height, &team);
        else store_moved(output, targets[i], moved, team);
        moved.clear();
    }
}

void State::store_moved(int output, float* array, const Bits& moved, Threads::Session& team) {
    const Border& border = plan_->outputs()[static_cast<size_t>(output)];
    const Map& m = memory_.map(border.map);
    const int band = plan_->band_rows(m.width);
    for (int y = 0; y < m.height; y += band) {
        runs_.clear();
        const int64_t pixels = collect_runs(moved, y, std::min(y + band, m.height), runs_);
        constexpr size_t kRuns = 32;  // of a piece
        std::atomic<size_t> next{0};
        const auto work = [&](float*) {
            for (size_t first; (first = next.fetch_add(kRuns, std::memory_order_relaxed)) < runs_.size();)
                for (size_t r = first; r < std::min(first + kRuns, runs_.size()); r++)
                    plan_->kernels().export_row(array + runs_[r].y * border.strides[0] + runs_[r].x0 * border.strides[1], border.strides[1], border.strides[2],
                                                memory_.pixel(border.map, runs_[r].y, runs_[r].x0), m.pixel_stride, runs_[r].x1 - runs_[r].x0, m.channels);
        };
        if (pixels * m.channels < kShare) work(nullptr);
        else team.run(std::ref(work));
    }
}

// team: null where no step is under way; alone: on this thread, whatever there is to do
void State::store_rows(int output, float* array, int first, int last, Threads::Session* team, bool alone) const {
    const Border& border = plan_->outputs().at(output);
    const Map& m = memory_.map(border.map);
    const int64_t row_stride = border.strides[0], pixel_stride = border.strides[1], channel_stride = border.strides[2];
    constexpr int kPixels = 1024;  // of a piece
    const int across = (m.width + kPixels - 1) / kPixels;
    std::atomic<int> next{first * across};
    const auto work = [&](float*) {
        for (int piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < last * across;) {
            const int y = piece / across, x = piece % across * kPixels;
            plan_->kernels().export_row(array + y * row_stride + x * pixel_stride, pixel_stride, channel_stride,
                                        memory_.pixel(border.map, y, x), m.pixel_stride, std::min(kPixels, m.width - x), m.channels);
        }
    };
    if (alone || static_cast<int64_t>(last - first) * m.width * m.channels < kShare) return work(nullptr);
    if (team) team->run(std::ref(work));
    else Threads::Session(*threads_).run(std::ref(work));
}

}  // namespace reconv
