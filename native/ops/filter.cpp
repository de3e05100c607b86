#include "filter.hpp"

namespace reconv {

Filter::Filter(int x, int kernel_y, int kernel_x, const ConvParams& p)
    : x_(x),
      window_{kernel_y, kernel_x, p.stride_y, p.stride_x, p.pad_y, p.pad_x, p.dilation_y, p.dilation_x},
      params_(p),
      fused_(static_cast<int>(p.activation.kind) < kFusedActivations) {
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
    float* target = (*task.memory.roots)[o.root] + o.offset;
    const int64_t row_step = window_.stride_y * in.row_stride, pixel_step = window_.stride_x * in.pixel_stride;
    const bool direct = !task.cutoff.compare && whole_vectors();
    const int64_t row_floats = (o.channels + 2 * kernels.width) / kernels.width * kernels.width;
    const int pixels = 2 * kernels.pairs;
    float* trash = task.scratch + static_cast<int64_t>(blocks_) * pixels * row_floats;

    Block blocks[kMostBlocks];
    for (int b = 0; b < blocks_; b++) {
        BlockArgs& args = blocks[b].args;
        args.taps = taps_.data();
        args.tap_count = static_cast<int>(taps_.size());
        args.run = run_;
        args.low = params_.activation.a;
        args.high = params_.activation.b;
        args.pair_stride = pixel_step;
        args.first_channel = 0;
        if (!direct)
            for (int m = 0; m < pixels; m++) args.out[m] = task.scratch + (static_cast<int64_t>(b) * pixels + m) * row_floats;
    }
    int open = 0;  // the block being filled
    blocks[0].pairs = 0;
    blocks[0].wanted = 0;
    const auto flush = [&] {
        const int count = open + (open < blocks_ && blocks[open].pairs > 0);
        if (count == 0) return;
        compute(kernels, blocks, count);
        for (int b = 0; b < count; b++) finish(task, blocks[b], direct);
        open = 0;
        blocks[0].pairs = 0;
        blocks[0].wanted = 0;
    };
    for (const Run& run : task.runs) {
        const float* from = source + run.y * row_step + run.x0 * pixel_step;
        float* to = target + run.y * o.row_stride + run.x0 * o.pixel_stride;
        for (int x = run.x0; x < run.x1; x += 2, from += 2 * pixel_step, to += 2 * o.pixel_stride) {
            Block& block = blocks[open];
            const int p = block.pairs++;
            const bool second = x + 1 < run.x1;
            block.args.in[p] = from;
            block.wanted |= (second ? 3u : 1u) << (2 * p);
            block.stored[2 * p] = to;
            block.stored[2 * p + 1] = to + o.pixel_stride;
            block.y[p] = run.y;
            block.x[p] = x;
            if (task.cutoff.compare)  // scattered pixels: no hardware prefetcher sees them coming
                for (int c = 0; c < o.channels; c += 16) {
                    __builtin_prefetch(to + c, 1);
                    __builtin_prefetch(to + o.pixel_stride + c, 1);
                }
            if (task.cutoff.compare)
                for (int c = 0; c < in.channels; c += 16) {
                    __builtin_prefetch(from + ahead_ + c);
                    __builtin_prefetch(from + ahead_ + pixel_step + c);
                }
            if (direct) {
                block.args.out[2 * p] = to;
                block.args.out[2 * p + 1] = second ? to + o.pixel_stride : trash;
            }
            if (block.pairs == kernels.pairs) {
                if (++open == blocks_) {
                    flush();
                } else {
                    blocks[open].pairs = 0;
                    blocks[open].wanted = 0;
                }
            }
        }
    }
    flush();
}

void Filter::finish(const Task& task, Block& block, bool direct) const {
    const Kernels& kernels = *task.kernels;
    const int channels = task.memory.map(out).channels, pixels = 2 * block.pairs;
    const bool residual = params_.residual >= 0, after = params_.after.kind != Activation::none;
    if (!fused_ || residual || after)
        for (int m = 0; m < pixels; m++) {
            if (!(block.wanted >> m & 1)) continue;
            float* values = block.args.out[m];
            if (!fused_) kernels.activate(values, channels, params_.activation);
            if (residual)
                kernels.add_activate(values, task.memory.pixel(params_.residual, block.y[m / 2], block.x[m / 2] + m % 2),
                                     channels, params_.after);
            else if (after)
                kernels.activate(values, channels, params_.after);
        }
    if (direct) return;
    if (!task.cutoff.compare) return kernels.put(block.wanted, block.args.out, block.stored, channels);
    const uint32_t moved = kernels.cut(block.wanted, block.args.out, block.stored, channels, task.cutoff.weights, task.cutoff.limit);
    if (moved) set_moved(task, block, moved);
}

void Filter::set_moved(const Task& task, const Block& block, uint32_t moved) const {
    const Bits& bits = task.cutoff.moved;
    uint64_t* open = nullptr;  // neighbours share a word: one update for all of them
    uint64_t mask = 0;
    const auto add = [&](uint64_t* word, uint64_t more) {
        if (word != open) {
            if (mask) task.set(open, mask);
            open = word;
            mask = 0;
        }
        mask |= more;
    };
    for (int p = 0; p < block.pairs; p++, moved >>= 2) {
        if (!(moved & 3)) continue;
        uint64_t* word = bits.row(block.y[p]) + (block.x[p] >> 6);
        const int shift = block.x[p] & 63;
        add(word, static_cast<uint64_t>(moved & 3) << shift);
        if (shift == 63 && (moved & 2)) add(word + 1, 1);
    }
    if (mask) task.set(open, mask);
}

}  // namespace reconv
