#include "filter.hpp"

namespace reconv {

template <class Args>
Filter<Args>::Filter(int x, int kernel_y, int kernel_x, const ConvParams& p)
    : x_(x), window_{kernel_y, kernel_x, p.stride_y, p.stride_x, p.pad_y, p.pad_x, p.dilation_y, p.dilation_x}, params_(p) {
    params_.activation.slopes = params_.slopes.empty() ? nullptr : params_.slopes.data();
    params_.after.slopes = params_.after_slopes.empty() ? nullptr : params_.after_slopes.data();
}

template <class Args>
void Filter<Args>::spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const {
    reconv::spread(stale[0], todo, window_, row);
    if (stale.size() > 1) todo.unite(stale[1]);
}

template <class Args>
std::string Filter<Args>::window_text() const {
    const auto pair = [](int y, int x) { return std::to_string(y).append("x").append(std::to_string(x)); };
    const Window& w = window_;
    return pair(w.kernel_y, w.kernel_x).append(" step ").append(pair(w.stride_y, w.stride_x)).append(" dilation ")
        .append(pair(w.dilation_y, w.dilation_x)).append(" groups ").append(std::to_string(params_.groups));
}

template <class Args>
int64_t Filter<Args>::scratch_floats(const Kernels& kernels, const std::vector<Map>& maps, bool dense_only) const {
    const int depth = maps[out].depth();
    return waiting_floats(kernels, depth, dense_only && writes_maps()) + row_floats(kernels, depth);
}

// merged: the taps of a row of the window follow one another, so they are read as one
template <class Args>
void Filter<Args>::find_taps(const Map& in, bool merged) {
    const ptrdiff_t row = window_.dilation_y * in.row_stride * per_word, pixel = window_.dilation_x * in.pixel_stride * per_word;
    taps_.clear();
    for (int ky = 0; ky < window_.kernel_y; ky++)
        for (int kx = 0; kx < (merged ? 1 : window_.kernel_x); kx++) taps_.push_back(ky * row + kx * pixel);
    ahead_ = (window_.kernel_y - 1) * row + (window_.kernel_x - 1) * pixel;
}

// Fills blocks with the pixels of runs: whole pairs into one block, what odd runs leave over into another. What a full block
// goes through is its kernels and then the finish of its pixels; of the slices of a stream's pixels, first the one and, when
// all slices are there, the other (`Work`).
template <class Args>
class Filter<Args>::Filling {
public:
    enum class Work { all, kernels, finish };

    Filling(const Filter& filter, const Task& task, Work work)
        : filter_(filter), head_(filter.head(task)), task_(task), in_(task.memory.map(head_.x_)), out_(task.memory.map(filter.out)), work_(work) {
        const Window& w = head_.window_;
        source_ = reinterpret_cast<const Element*>((*task.memory.roots)[in_.root] + in_.offset - w.pad_y * in_.row_stride - w.pad_x * in_.pixel_stride);
        target_ = (*task.memory.roots)[out_.root] + out_.offset;
        row_step_ = w.stride_y * in_.row_stride * per_word;
        pixel_step_ = w.stride_x * in_.pixel_stride * per_word;
        direct_ = !task.cutoff.compare && filter.writes_maps();
        shared_ = task.slice.rows;
        row_floats_ = filter.row_floats(*task.kernels, out_.depth());
        full_ = full(*task.kernels);
        trash_ = task.scratch + filter.waiting_floats(*task.kernels, out_.depth(), direct_);
        rows_ = trash_ + row_floats_;
        most_ = direct_ && !task.fused ? filter.blocks_ : filter.row_blocks();
        for (int b = 0; b < with_rest(most_); b++) open(blocks_[b], b);
        pairs_ = &blocks_[0];
        singles_ = &blocks_[with_rest(most_) - 1];
        singles_->single = true;
    }

    void add(const Run& run) {
        const Element* from = source_ + run.y * row_step_ + run.x0 * pixel_step_;
        float* to = target_ + run.y * out_.row_stride + run.x0 * out_.pixel_stride;
        int x = run.x0;
        for (; x + 1 < run.x1; x += 2, from += 2 * pixel_step_, to += 2 * out_.pixel_stride) {
            Block& block = *pairs_;
            block.args.in[block.pixels / 2] = from;
            put(block, run.y, x, from, to);
            put(block, run.y, x + 1, from + pixel_step_, to + out_.pixel_stride);
            if (block.pixels == full_) next_pairs();
        }
        if (x == run.x1) return;
        singles_->args.in[singles_->pixels] = from;
        put(*singles_, run.y, x, from, to);
        if (singles_->pixels == full_) next_singles();
    }

    void finish() {
        if (pairs_->pixels) count_++;
        if (singles_->pixels) {
            Block& block = *singles_;
            if (block.pixels % 2) {  // a whole number of pairs: repeat the last pixel, unwanted
                const int m = block.pixels++;
                block.args.in[m] = block.args.in[m - 1];
                block.y[m] = block.y[m - 1], block.x[m] = block.x[m - 1];
                if (direct_ || shared_) block.args.out[m] = trash_;
            }
            blocks_[count_++] = block;  // with the others, so that the weights are read once
        }
        flush();
    }

private:
    void open(Block& block, int index) {
        Args& args = block.args;
        block.step = pixel_step_;
        args.first_channel = 0;
        block.pixels = 0;
        block.single = false;
        block.wanted = 0;
        if (!direct_ && !shared_)
            for (int m = 0; m < full_; m++) args.out[m] = task_.scratch + (static_cast<int64_t>(index) * full_ + m) * row_floats_;
    }

    void put(Block& block, int y, int x, const Element* from, float* to) {
        const int m = block.pixels++;
        block.wanted |= 1u << m;
        block.stored[m] = to;
        block.y[m] = y;
        block.x[m] = x;
        if (direct_) block.args.out[m] = to;
        if (shared_) block.args.out[m] = shared_ + row_floats_ * placed_++;
        if (!task_.cutoff.compare) return;
        // scattered pixels: no hardware prefetcher sees them coming
        for (int c = 0; c < out_.channels; c += 16) __builtin_prefetch(to + c, 1);
        for (int c = 0; c < in_.channels; c += 16) __builtin_prefetch(from + head_.ahead_ + c * per_word);
    }

    void next_pairs() {
        if (++count_ == most_) flush();
        else pairs_ = &blocks_[count_];
    }

    // Computed at once: single pixels are rare where there are many pixels.
    void next_singles() {
        pass(singles_, 1);
    }

    void flush() {
        if (count_) pass(blocks_, count_);
        count_ = 0;
        pairs_ = &blocks_[0];
    }

    void pass(Block* blocks, int count) {
        if (work_ != Work::finish) filter_.compute(task_, blocks, count, rows_);
        for (int b = 0; b < count; b++) {
            if (work_ != Work::kernels) filter_.finish(task_, blocks[b], direct_);
            clear(blocks[b]);
        }
    }

    static void clear(Block& block) {
        block.pixels = 0;
        block.wanted = 0;
    }

    const Filter &filter_, &head_;
    const Task& task_;
    const Map &in_, &out_;
    const Element* source_;
    const Work work_;
    float *target_, *trash_, *rows_, *shared_;
    int64_t row_step_, pixel_step_, row_floats_;
    bool direct_;
    int full_, most_, count_ = 0, placed_ = 0;
    Block blocks_[kMostBlocks + 2];
    Block *pairs_, *singles_;
};

template <class Args>
void Filter<Args>::set_window(Args& args) const {
    args.taps = taps_.data();
    args.tap_count = static_cast<int>(taps_.size());
    args.run = run_;
    args.resume = false;
    args.keep = false;
}

template <class Args>
void Filter<Args>::run(const Task& task) const {
    Filling filling(*this, task, task.slice.rows ? Filling::Work::kernels : Filling::Work::all);
    for (const Run& run : task.runs) filling.add(run);
    filling.finish();
}

template <class Args>
void Filter<Args>::put_away(const Task& task) const {
    Filling filling(*this, task, Filling::Work::finish);
    for (const Run& run : task.runs) filling.add(run);
    filling.finish();
}

template <class Args>
void Filter<Args>::set_moved(const Task& task, const Block& block, uint32_t moved) const {
    const Bits& bits = task.cutoff.moved;
    uint64_t* open = nullptr;  // neighbours share a word: one update for all of them
    uint64_t mask = 0;
    for (; moved; moved &= moved - 1) {
        const int m = __builtin_ctz(moved);
        uint64_t* word = bits.row(block.y[m]) + (block.x[m] >> 6);
        if (word != open) {
            if (mask) task.set(open, mask);
            open = word;
            mask = 0;
        }
        mask |= uint64_t{1} << (block.x[m] & 63);
    }
    if (mask) task.set(open, mask);
}

template class Filter<BlockArgs>;
template class Filter<BlockArgs8>;

FloatFilter::FloatFilter(int x, int kernel_y, int kernel_x, const ConvParams& p)
    : Filter(x, kernel_y, kernel_x, p), fused_(static_cast<int>(p.activation.kind) < kFusedActivations) {}

void FloatFilter::finish(const Task& task, Block& block, bool direct) const {
    const Kernels& kernels = *task.kernels;
    const auto [first, last] = channels_of(task);
    const int channels = last - first;
    const bool residual = params_.residual >= 0, after = params_.after.kind != Activation::none;
    if (!fused_ || residual || after) {
        const ActivationSpec inner = from_channel(params_.activation, first), outer = from_channel(params_.after, first);
        for (uint32_t left = block.wanted; left; left &= left - 1) {
            const int m = __builtin_ctz(left);
            float* values = block.args.out[m] + first;
            if (!fused_) kernels.activate(values, channels, inner);
            if (residual)
                kernels.add_activate(values, task.memory.pixel(params_.residual, block.y[m], block.x[m]) + first, channels, outer);
            else if (after)
                kernels.activate(values, channels, outer);
        }
    }
    if (direct) return;
    if (!task.cutoff.compare) {
        if (first == 0) return kernels.put(block.wanted, block.args.out, block.stored, channels);
        float *fresh[kMaxPixels], *stored[kMaxPixels];
        for (uint32_t left = block.wanted; left; left &= left - 1) {  // the others have no place in the map
            const int m = __builtin_ctz(left);
            fresh[m] = block.args.out[m] + first, stored[m] = block.stored[m] + first;
        }
        return kernels.put(block.wanted, fresh, stored, channels);
    }
    const uint32_t moved = kernels.cut(block.wanted, block.args.out, block.stored, channels, task.cutoff.weights, task.cutoff.limit);
    if (moved) set_moved(task, block, moved);
}

}  // namespace reconv
