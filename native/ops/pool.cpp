// Pooling over windows and over the whole map (ONNX MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, ReduceMean).
#include <algorithm>
#include <cstring>

#include "op.hpp"

namespace reconv {
namespace {

// Where a pooled pixel is made, and how it is put away: through the cutoff when the op is under it. A window makes more
// pixels stale than it really moves (a maximum stays, a mean moves little), so what is really new is worth a comparison.
class Putter {
public:
    Putter(const Task& task, const Op& op, float* fresh)
        : task_(task), out_(op.out), channels_(task.memory.map(op.out).channels), fresh_(task.cutoff.compare ? fresh : nullptr) {}

    float* place(int y, int x) const { return fresh_ ? fresh_ : task_.memory.pixel(out_, y, x); }
    void put(int y, int x) const {
        if (!fresh_) return;
        float *from = fresh_, *to = task_.memory.pixel(out_, y, x);
        const Cutoff& cutoff = task_.cutoff;
        if (task_.kernels->cut(1, &from, &to, channels_, cutoff.weights, cutoff.limit))
            task_.set(cutoff.moved.row(y) + (x >> 6), uint64_t{1} << (x & 63));
    }

private:
    const Task& task_;
    int out_, channels_;
    float* fresh_;  // null: straight into the map
};

// The maximum of a window is the maximum of its columns' maxima: a run of pixels shares them, so a 13x13 window costs 26
// comparisons a pixel and not 169. Every pixel is made the same way, so its bits do not depend on its run.
class MaxPool final : public Op {
public:
    MaxPool(int x, const PoolParams& p) : x_(x), w_(p.window) {}

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override {
        reconv::spread(stale[0], todo, w_, row);
    }
    Rows rows(int, int y, const std::vector<Map>&) const override { return window_rows(w_, y); }
    bool keeps_strides(int) const override { return false; }
    int spread_words(const std::vector<Map>& maps) const override { return window_words(w_, maps[x_], maps[out]); }
    int64_t pixel_cost(const std::vector<Map>& maps) const override {
        return static_cast<int64_t>(w_.kernel_y + w_.kernel_x) * maps[out].channels / 4 + 1;
    }
    int64_t scratch_floats(const Kernels& kernels, const std::vector<Map>& maps, bool) const override {
        const int64_t pointers = 2 * (std::max(w_.kernel_y, w_.kernel_x) + 8);
        return pointers + (static_cast<int64_t>(maps[x_].width) + 2) * (maps[x_].channels + kernels.width);
    }

    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        const auto** taps = reinterpret_cast<const float**>(task.scratch);
        float* fresh = task.scratch + 2 * (std::max(w_.kernel_y, w_.kernel_x) + 8);
        float* columns = fresh + o.channels;
        const Putter putter(task, *this, fresh);
        for (const Run& run : task.runs) {
            int rows = 0;
            for (int k = 0; k < w_.kernel_y; k++) {
                const int y = run.y * w_.stride_y - w_.pad_y + k * w_.dilation_y;
                if (y >= 0 && y < in.height) taps[rows++] = task.memory.pixel(x_, y, std::max(run.x0 * w_.stride_x - w_.pad_x, 0));
            }
            const int first = std::max(run.x0 * w_.stride_x - w_.pad_x, 0);
            const int last = std::min((run.x1 - 1) * w_.stride_x - w_.pad_x + (w_.kernel_x - 1) * w_.dilation_x + 1, in.width);
            if (rows > 0)
                for (int x = first; x < last; x++) {
                    task.kernels->max_window(columns + static_cast<int64_t>(x - first) * in.channels, taps, rows, in.channels);
                    for (int k = 0; k < rows; k++) taps[k] += in.pixel_stride;
                }
            for (int x = run.x0; x < run.x1; x++) {
                int count = 0;
                for (int k = 0; k < w_.kernel_x && rows > 0; k++) {
                    const int c = x * w_.stride_x - w_.pad_x + k * w_.dilation_x;
                    if (c >= 0 && c < in.width) taps[count++] = columns + static_cast<int64_t>(c - first) * in.channels;
                }
                float* to = putter.place(run.y, x);
                if (count) task.kernels->max_window(to, taps, count, o.channels);
                else std::fill(to, to + o.channels, -__builtin_inff());  // a window entirely in the padding
                putter.put(run.y, x);
            }
        }
    }

private:
    int x_;
    Window w_;
};

class AveragePool final : public Op {
public:
    AveragePool(int x, const PoolParams& p) : x_(x), p_(p) {}

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override {
        reconv::spread(stale[0], todo, p_.window, row);
    }
    Rows rows(int, int y, const std::vector<Map>&) const override { return window_rows(p_.window, y); }
    bool keeps_strides(int) const override { return false; }
    int spread_words(const std::vector<Map>& maps) const override { return window_words(p_.window, maps[x_], maps[out]); }
    int64_t pixel_cost(const std::vector<Map>& maps) const override {
        return static_cast<int64_t>(p_.window.kernel_y) * p_.window.kernel_x * maps[out].channels / 4 + 1;
    }
    int64_t scratch_floats(const Kernels&, const std::vector<Map>& maps, bool) const override {
        return pointer_floats() + maps[out].channels;
    }

    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        const auto** taps = reinterpret_cast<const float**>(task.scratch);
        const Window& w = p_.window;
        const Putter putter(task, *this, task.scratch + pointer_floats());
        for (const Run& run : task.runs)
            for (int x = run.x0; x < run.x1; x++) {
                int count = 0;
                for (int ky = 0; ky < w.kernel_y; ky++) {
                    const int y = run.y * w.stride_y - w.pad_y + ky * w.dilation_y;
                    if (y < 0 || y >= in.height) continue;
                    for (int kx = 0; kx < w.kernel_x; kx++) {
                        const int c = x * w.stride_x - w.pad_x + kx * w.dilation_x;
                        if (c >= 0 && c < in.width) taps[count++] = task.memory.pixel(x_, y, c);
                    }
                }
                task.kernels->average_window(putter.place(run.y, x), taps, count, o.channels,
                                             static_cast<float>(std::max(divisor(run.y, x, count, in), 1)));
                putter.put(run.y, x);
            }
    }

private:
    // room for the window's pointers
    int64_t pointer_floats() const { return static_cast<int64_t>(p_.window.kernel_y) * p_.window.kernel_x * 2; }

    // how many positions of the window count: those in the map, or those in the padded map
    int divisor(int y, int x, int count, const Map& in) const {
        if (!p_.count_include_pad) return count;
        const Window& w = p_.window;
        const auto inside = [](int first, int kernel, int dilation, int low, int high) {
            int n = 0;
            for (int k = 0; k < kernel; k++) n += first + k * dilation >= low && first + k * dilation < high;
            return n;
        };
        return inside(y * w.stride_y - w.pad_y, w.kernel_y, w.dilation_y, -w.pad_y, in.height + p_.end_y) *
               inside(x * w.stride_x - w.pad_x, w.kernel_x, w.dilation_x, -w.pad_x, in.width + p_.end_x);
    }

    int x_;
    PoolParams p_;
};

class GlobalPool final : public Op {
public:
    GlobalPool(int x, Global kind) : x_(x), kind_(kind) {}

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override {
        if (stale[0].any()) todo.set(0, 0);
    }
    Rows rows(int, int, const std::vector<Map>& maps) const override { return {0, maps[x_].height}; }
    bool keeps_strides(int) const override { return false; }
    bool splits() const override { return false; }
    int64_t scratch_floats(const Kernels&, const std::vector<Map>& maps, bool) const override { return maps[out].channels; }

    // Always over all pixels in the same order: a sum that were updated by differences would drift.
    void run(const Task& task) const override {
        const Map& in = task.memory.map(x_);
        float* total = task.scratch;
        if (kind_ == Global::maximum)
            std::memcpy(total, task.memory.pixel(x_, 0, 0), sizeof(float) * in.channels);
        else
            std::fill(total, total + in.channels, 0.f);
        for (int y = 0; y < in.height; y++)
            (kind_ == Global::maximum ? task.kernels->max_row : task.kernels->sum_row)(
                total, task.memory.pixel(x_, y, 0), in.width, in.pixel_stride, in.channels);
        if (kind_ == Global::average) {
            const float pixels = static_cast<float>(static_cast<int64_t>(in.height) * in.width);
            for (int c = 0; c < in.channels; c++) total[c] /= pixels;
        }
        float* to = task.memory.pixel(out, 0, 0);
        if (!task.cutoff.compare)
            std::memcpy(to, total, sizeof(float) * in.channels);
        else if (task.kernels->cut(1, &total, &to, in.channels, task.cutoff.weights, task.cutoff.limit))
            task.cutoff.moved.set(0, 0);
    }

private:
    int x_;
    Global kind_;
};

}  // namespace

OpPtr make_max_pool(int x, int, const PoolParams& p) { return std::make_unique<MaxPool>(x, p); }
OpPtr make_average_pool(int x, int, const PoolParams& p) { return std::make_unique<AveragePool>(x, p); }
OpPtr make_global_pool(int x, int, Global kind) { return std::make_unique<GlobalPool>(x, kind); }

}  // namespace reconv
