// Pooling over windows and over the whole map (ONNX MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, ReduceMean), of
// floats and of codes.
#include <algorithm>
#include <cstring>

#include "../kernels/kernels8.hpp"
#include "op8.hpp"

namespace reconv {
namespace {

// What differs between floats and codes.
template <class T>
struct Pixels {
    static constexpr int per_word = sizeof(float) / sizeof(T);
    static T* at(const Task& task, int map, int y, int x) { return reinterpret_cast<T*>(task.memory.pixel(map, y, x)); }
    // room for a pixel in scratch, and for what kernels read behind it
    static int64_t room(const Map& m) { return m.channels + kSlack8 / 4; }

    static void max_window(const Kernels& kernels, T* to, const T* const* taps, int count, int depth) {
        if constexpr (per_word == 1) kernels.max_window(to, taps, count, depth);
        else kernels.codes->max_window8(to, taps, count, depth);
    }
    static uint32_t cut(const Task& task, T* from, T* to, int depth) {
        const Cutoff& cutoff = task.cutoff;
        if constexpr (per_word == 1) return task.kernels->cut(1, &from, &to, depth, cutoff.weights, cutoff.limit);
        else return task.kernels->codes->cut8(1, &from, &to, depth, cutoff.weights, cutoff.limit, 1.f);
    }
    static constexpr T lowest() {
        if constexpr (per_word == 1) return -__builtin_inff();
        else return 0;
    }
};

// The mean of a window's pixels that are in the map, and of zeros for the others that count.
template <class T>
struct Mean;

template <>
struct Mean<float> {
    void operator()(const Kernels& kernels, float* to, const float* const* taps, int count, int depth, int divisor) const {
        kernels.average_window(to, taps, count, depth, static_cast<float>(divisor));
    }
};

template <>
struct Mean<uint8_t> {
    Coding from, to;
    Average8 of(int64_t count, int64_t divisor) const {
        return {static_cast<int32_t>(count * from.zero), from.scale / static_cast<float>(divisor), to.inverse(), to.zero};
    }
    void operator()(const Kernels& kernels, uint8_t* place, const uint8_t* const* taps, int count, int depth, int divisor) const {
        kernels.codes->average_window8(place, taps, count, depth, of(count, divisor));
    }
};

// Where a pooled pixel is made, and how it is put away: through the cutoff when the op is under it. A window makes more
// pixels stale than it really moves (a maximum stays, a mean moves little), so what is really new is worth a comparison.
template <class T>
class Putter {
public:
    Putter(const Task& task, const Op& op, T* fresh)
        : task_(task), out_(op.out), depth_(task.memory.map(op.out).depth()), fresh_(task.cutoff.compare ? fresh : nullptr) {}

    T* place(int y, int x) const { return fresh_ ? fresh_ : Pixels<T>::at(task_, out_, y, x); }
    void put(int y, int x) const {
        if (!fresh_) return;
        const Cutoff& cutoff = task_.cutoff;
        if (Pixels<T>::cut(task_, fresh_, Pixels<T>::at(task_, out_, y, x), depth_))
            task_.set(cutoff.moved.row(y) + (x >> 6), uint64_t{1} << (x & 63));
    }

private:
    const Task& task_;
    int out_, depth_;
    T* fresh_;  // null: straight into the map
};

// The maximum of a window is the maximum of its columns' maxima: a run of pixels shares them, so a 13x13 window costs 26
// comparisons a pixel and not 169. Every pixel is made the same way, so its bits do not depend on its run.
template <class T>
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
    int64_t scratch_floats(const Kernels&, const std::vector<Map>& maps, bool) const override {
        return pointer_floats() + Pixels<T>::room(maps[out]) + static_cast<int64_t>(maps[x_].width) * maps[x_].channels + kSlack8 / 4;
    }

    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        const auto** taps = reinterpret_cast<const T**>(task.scratch);
        float* const fresh = task.scratch + pointer_floats();
        T* const columns = reinterpret_cast<T*>(fresh + Pixels<T>::room(o));
        const int depth = o.depth(), step = in.channels * Pixels<T>::per_word;
        const Putter<T> putter(task, *this, reinterpret_cast<T*>(fresh));
        for (const Run& run : task.runs) {
            int rows = 0;
            for (int k = 0; k < w_.kernel_y; k++) {
                const int y = run.y * w_.stride_y - w_.pad_y + k * w_.dilation_y;
                if (y >= 0 && y < in.height) taps[rows++] = Pixels<T>::at(task, x_, y, std::max(run.x0 * w_.stride_x - w_.pad_x, 0));
            }
            const int first = std::max(run.x0 * w_.stride_x - w_.pad_x, 0);
            const int last = std::min((run.x1 - 1) * w_.stride_x - w_.pad_x + (w_.kernel_x - 1) * w_.dilation_x + 1, in.width);
            if (rows > 0)
                for (int x = first; x < last; x++) {
                    Pixels<T>::max_window(*task.kernels, columns + static_cast<int64_t>(x - first) * step, taps, rows, depth);
                    for (int k = 0; k < rows; k++) taps[k] += in.pixel_stride * Pixels<T>::per_word;
                }
            for (int x = run.x0; x < run.x1; x++) {
                int count = 0;
                for (int k = 0; k < w_.kernel_x && rows > 0; k++) {
                    const int c = x * w_.stride_x - w_.pad_x + k * w_.dilation_x;
                    if (c >= 0 && c < in.width) taps[count++] = columns + static_cast<int64_t>(c - first) * step;
                }
                T* to = putter.place(run.y, x);
                if (count) Pixels<T>::max_window(*task.kernels, to, taps, count, depth);
                else std::fill(to, to + depth, Pixels<T>::lowest());  // a window entirely in the padding
                putter.put(run.y, x);
            }
        }
    }

private:
    // room for a column's or a row's pointers
    int64_t pointer_floats() const { return 2 * (std::max(w_.kernel_y, w_.kernel_x) + 8); }

    int x_;
    Window w_;
};

template <class T>
class AveragePool final : public Op {
public:
    AveragePool(int x, const PoolParams& p, const Mean<T>& mean) : x_(x), p_(p), mean_(mean) {}

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
        return pointer_floats() + Pixels<T>::room(maps[out]);
    }

    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        const auto** taps = reinterpret_cast<const T**>(task.scratch);
        const Window& w = p_.window;
        const Putter<T> putter(task, *this, reinterpret_cast<T*>(task.scratch + pointer_floats()));
        for (const Run& run : task.runs)
            for (int x = run.x0; x < run.x1; x++) {
                int count = 0;
                for (int ky = 0; ky < w.kernel_y; ky++) {
                    const int y = run.y * w.stride_y - w.pad_y + ky * w.dilation_y;
                    if (y < 0 || y >= in.height) continue;
                    for (int kx = 0; kx < w.kernel_x; kx++) {
                        const int c = x * w.stride_x - w.pad_x + kx * w.dilation_x;
                        if (c >= 0 && c < in.width) taps[count++] = Pixels<T>::at(task, x_, y, c);
                    }
                }
                mean_(*task.kernels, putter.place(run.y, x), taps, count, o.depth(), std::max(divisor(run.y, x, count, in), 1));
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
    Mean<T> mean_;
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

// Sums of codes are integers, and exact in any order.
class GlobalAverage8 final : public Op {
public:
    GlobalAverage8(int x, const Mean<uint8_t>& mean) : x_(x), mean_(mean) {}

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override {
        if (stale[0].any()) todo.set(0, 0);
    }
    Rows rows(int, int, const std::vector<Map>& maps) const override { return {0, maps[x_].height}; }
    bool keeps_strides(int) const override { return false; }
    bool splits() const override { return false; }
    int64_t scratch_floats(const Kernels&, const std::vector<Map>& maps, bool) const override {
        return maps[out].codes + kSlack8 / 4 + Pixels<uint8_t>::room(maps[out]);
    }

    void run(const Task& task) const override {
        const Map& in = task.memory.map(x_);
        auto* const sums = reinterpret_cast<int32_t*>(task.scratch);
        std::fill(sums, sums + in.codes, 0);
        for (int y = 0; y < in.height; y++)
            task.kernels->codes->sum_row8(sums, Pixels<uint8_t>::at(task, x_, y, 0), in.width, in.pixel_stride * 4, in.codes);
        const int64_t pixels = static_cast<int64_t>(in.height) * in.width;
        const Putter<uint8_t> putter(task, *this, reinterpret_cast<uint8_t*>(sums + in.codes + kSlack8 / 4));
        task.kernels->codes->average_row8(putter.place(0, 0), sums, in.codes, mean_.of(pixels, pixels));
        putter.put(0, 0);
    }

private:
    int x_;
    Mean<uint8_t> mean_;
};

}  // namespace

OpPtr make_max_pool(int x, int, const PoolParams& p) { return std::make_unique<MaxPool<float>>(x, p); }
OpPtr make_average_pool(int x, int, const PoolParams& p) { return std::make_unique<AveragePool<float>>(x, p, Mean<float>{}); }
OpPtr make_global_pool(int x, int, Global kind) { return std::make_unique<GlobalPool>(x, kind); }
OpPtr make_max_pool8(int x, const PoolParams& p) { return std::make_unique<MaxPool<uint8_t>>(x, p); }
OpPtr make_average_pool8(int x, const PoolParams& p, const Coding& from, const Coding& to) {
    return std::make_unique<AveragePool<uint8_t>>(x, p, Mean<uint8_t>{from, to});
}
OpPtr make_global_average8(int x, const Coding& from, const Coding& to) {
    return std::make_unique<GlobalAverage8>(x, Mean<uint8_t>{from, to});
}

}  // namespace reconv
