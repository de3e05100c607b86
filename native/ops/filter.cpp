#include "filter.hpp"

#include <atomic>
#include <cstring>

namespace reconv {

Filter::Filter(int x, int kernel_y, int kernel_x, const ConvParams& p)
    : x_(x),
      window_{kernel_y, kernel_x, p.stride_y, p.stride_x, p.pad_y, p.pad_x, p.dilation_y, p.dilation_x},
      params_(p),
      fused_(static_cast<int>(p.activation.kind) < kFusedActivations),
      low_(p.activation.a),
      high_(p.activation.b) {
    params_.activation.slopes = params_.slopes.empty() ? nullptr : params_.slopes.data();
    params_.after.slopes = params_.after_slopes.empty() ? nullptr : params_.after_slopes.data();
}

void Filter::spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const {
    reconv::spread(stale[0], todo, window_, row);
    if (stale.size() > 1) todo.unite(stale[1]);
}

int64_t Filter::scratch_floats(const Kernels& kernels, const std::vector<Map>& maps) const {
    const int64_t padded = maps[out].channels + 2 * kernels.width;
    return (static_cast<int64_t>(blocks_) * 2 * kernels.pairs + 1) * (padded + kernels.width);
}

void Filter::run(const Task& task) const {
    const Kernels& kernels = *task.kernels;
    const Map &in = task.memory.map(x_), &o = task.memory.map(out);
    const float* source = (*task.memory.roots)[in.root] + in.offset - window_.pad_y * in.row_stride - window_.pad_x * in.pixel_stride;
    const int64_t row_step = window_.stride_y * in.row_stride, pixel_step = window_.stride_x * in.pixel_stride;
    const bool direct = !task.cutoff.compare && whole_vectors(kernels, o.channels);
    const int64_t row_floats = (o.channels + 2 * kernels.width) / kernels.width * kernels.width;
    const int pixels = 2 * kernels.pairs;
    float* trash = task.scratch + static_cast<int64_t>(blocks_) * pixels * row_floats;

    Block blocks[kMostBlocks];
    int open = 0;  // the block being filled
    blocks[0].pairs = 0;
    const auto flush = [&] {
        const int count = open + (open < blocks_ && blocks[open].pairs > 0);
        if (count == 0) return;
        compute(kernels, blocks, count);
        for (int b = 0; b < count; b++) finish(task, blocks[b], direct);
        open = 0;
        blocks[0].pairs = 0;
    };
    for (const Run& run : task.runs) {
        const float* row = source + run.y * row_step;
        for (int x = run.x0; x < run.x1; x += 2) {
            Block& block = blocks[open];
            const int p = block.pairs++;
            if (p == 0) {
                set_window_of(block.args);
                block.args.pair_stride = pixel_step;
            }
            block.args.in[p] = row + x * pixel_step;
            for (int k = 0; k < 2; k++) {
                const int m = 2 * p + k;
                const bool wanted = x + k < run.x1;
                block.lanes[m] = {run.y, x + k, wanted};
                block.args.out[m] = !direct ? task.scratch + (static_cast<int64_t>(open) * pixels + m) * row_floats
                                    : wanted ? task.memory.pixel(out, run.y, x + k) : trash;
            }
            if (block.pairs == kernels.pairs) {
                if (++open == blocks_) flush();
                else blocks[open].pairs = 0;
            }
        }
    }
    flush();
}

void Filter::set_window_of(BlockArgs& args) const {
    args.taps = taps_.data();
    args.tap_count = static_cast<int>(taps_.size());
    args.run = run_;
    args.low = low_;
    args.high = high_;
}

void Filter::finish(const Task& task, Block& block, bool direct) const {
    const Kernels& kernels = *task.kernels;
    const int channels = task.memory.map(out).channels;
    const float* fresh[kMaxPixels] = {};
    float* stored[kMaxPixels] = {};
    Lane lanes[kMaxPixels];
    int count = 0;
    for (int m = 0; m < 2 * block.pairs; m++) {
        const Lane& lane = block.lanes[m];
        if (!lane.wanted) continue;
        float* values = block.args.out[m];
        if (!fused_) kernels.activate(values, channels, params_.activation);
        if (params_.residual >= 0)
            kernels.add_activate(values, task.memory.pixel(params_.residual, lane.y, lane.x), channels, params_.after);
        else
            kernels.activate(values, channels, params_.after);
        if (direct) continue;
        fresh[count] = values;
        stored[count] = task.memory.pixel(out, lane.y, lane.x);
        lanes[count++] = lane;
    }
    if (direct) return;
    if (!task.cutoff.compare) {
        for (int m = 0; m < count; m++) std::memcpy(stored[m], fresh[m], sizeof(float) * channels);
        return;
    }
    const uint32_t moved = kernels.cut(count, fresh, stored, channels, task.cutoff.weights, task.cutoff.limit);
    const Bits& bits = task.cutoff.moved;
    for (int m = 0; m < count;) {  // neighbours share a word: one update for all of them
        uint64_t* word = bits.row(lanes[m].y) + (lanes[m].x >> 6);
        uint64_t mask = 0;
        for (; m < count && bits.row(lanes[m].y) + (lanes[m].x >> 6) == word; m++)
            mask |= static_cast<uint64_t>(moved >> m & 1) << (lanes[m].x & 63);
        if (mask) std::atomic_ref<uint64_t>(*word).fetch_or(mask, std::memory_order_relaxed);
    }
}

}  // namespace reconv
