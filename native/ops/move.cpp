// Ops that only move values: resize, copy, gather, and the join of a map whose parts were written in place.
#include <algorithm>
#include <cstring>

#include "op.hpp"

namespace reconv {
namespace {

class Resize final : public Op {
public:
    Resize(int x, ResizeTable table) : x_(x), table_(std::move(table)) {
        const auto zero = [](const std::vector<float>& w) {
            return std::all_of(w.begin(), w.end(), [](float v) { return v == 0.f; });
        };
        nearest_ = zero(table_.wy) && zero(table_.wx);
    }
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override {
        reconv::spread(stale[0], todo, table_.taps, row);
    }
    void run(const Task& task) const override {
        const int channels = task.memory.map(out).channels;
        const Taps& t = table_.taps;
        for (const Run& run : task.runs)
            for (int x = run.x0; x < run.x1; x++) {
                float* to = task.memory.pixel(out, run.y, x);
                const int y0 = t.y0[run.y], y1 = t.y1[run.y], x0 = t.x0[x], x1 = t.x1[x];
                if (nearest_) {
                    std::memcpy(to, task.memory.pixel(x_, y0, x0), sizeof(float) * channels);
                    continue;
                }
                const float wy = table_.wy[run.y], wx = table_.wx[x];
                const float* const in[4] = {task.memory.pixel(x_, y0, x0), task.memory.pixel(x_, y0, x1),
                                            task.memory.pixel(x_, y1, x0), task.memory.pixel(x_, y1, x1)};
                const float weights[4] = {(1 - wy) * (1 - wx), (1 - wy) * wx, wy * (1 - wx), wy * wx};
                task.kernels->lerp4(to, in, weights, channels);
            }
    }

private:
    int x_;
    ResizeTable table_;
    bool nearest_;
};

// Same channels and number of pixels; rows may be cut differently (a reshape of the pixel grid).
class Copy final : public Op {
public:
    explicit Copy(int x) : x_(x) {}
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override {
        const Bits& in = stale[0];
        if (in.height == todo.height) return todo.unite(in);
        for (int y = 0; y < in.height; y++)
            for (int x = 0; x < in.width; x++)
                if (in.test(y, x)) {
                    const int64_t pixel = static_cast<int64_t>(y) * in.width + x;
                    todo.set(static_cast<int>(pixel / todo.width), static_cast<int>(pixel % todo.width));
                }
    }
    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        for (const Run& run : task.runs)
            for (int x = run.x0; x < run.x1; x++) {
                const int64_t pixel = static_cast<int64_t>(run.y) * o.width + x;
                std::memcpy(task.memory.pixel(out, run.y, x),
                            task.memory.pixel(x_, static_cast<int>(pixel / in.width), static_cast<int>(pixel % in.width)),
                            sizeof(float) * o.channels);
            }
    }

private:
    int x_;
};

class Gather final : public Op {
public:
    Gather(int x, std::vector<int32_t> index, float fill, const Map& in, const Map& to)
        : x_(x), index_(std::move(index)), fill_(fill) {
        // which input pixels each output pixel reads, without repetition
        const int channels = to.channels;
        std::vector<int32_t> pixels;
        first_.push_back(0);
        for (size_t p = 0; p < index_.size(); p += channels) {
            pixels.clear();
            for (int c = 0; c < channels; c++)
                if (index_[p + c] >= 0) pixels.push_back(index_[p + c] / in.channels);
            std::sort(pixels.begin(), pixels.end());
            pixels.erase(std::unique(pixels.begin(), pixels.end()), pixels.end());
            sources_.insert(sources_.end(), pixels.begin(), pixels.end());
            first_.push_back(static_cast<int32_t>(sources_.size()));
        }
    }
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override {
        const Bits& in = stale[0];
        if (!in.any()) return;
        for (int y = 0; y < todo.height; y++)
            for (int x = 0; x < todo.width; x++) {
                const int64_t p = static_cast<int64_t>(y) * todo.width + x;
                for (int32_t i = first_[p]; i < first_[p + 1]; i++)
                    if (in.test(sources_[i] / in.width, sources_[i] % in.width)) {
                        todo.set(y, x);
                        break;
                    }
            }
    }
    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        for (const Run& run : task.runs)
            for (int x = run.x0; x < run.x1; x++) {
                float* to = task.memory.pixel(out, run.y, x);
                const int32_t* index = index_.data() + (static_cast<int64_t>(run.y) * o.width + x) * o.channels;
                for (int c = 0; c < o.channels;) {
                    const int32_t i = index[c];
                    if (i < 0) {
                        to[c++] = fill_;
                        continue;
                    }
                    const int pixel = i / in.channels, channel = i % in.channels;
                    // the following channels, as long as they come from the same pixel in order
                    int length = 1;
                    while (c + length < o.channels && channel + length < in.channels && index[c + length] == i + length) length++;
                    std::memcpy(to + c, task.memory.pixel(x_, pixel / in.width, pixel % in.width) + channel, sizeof(float) * length);
                    c += length;
                }
            }
    }
    int64_t bytes() const override {
        return static_cast<int64_t>((index_.size() + sources_.size() + first_.size()) * sizeof(int32_t));
    }

private:
    int x_;
    std::vector<int32_t> index_, sources_, first_;
    float fill_;
};

// Moves nothing: the parts are in place, their stale sets become the parent's.
class Join final : public Op {
public:
    explicit Join(std::vector<Map> parts) : parts_(std::move(parts)) {}
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override {
        for (size_t i = 0; i < parts_.size(); i++) {
            const Map& m = parts_[i];
            const Bits& in = stale[i];
            if (m.view == View::part) {
                todo.unite(in);
                continue;
            }
            for (int y = 0; y < in.height; y++)
                for (int word = 0; word < in.row_words; word++)
                    for (uint64_t left = in.row(y)[word]; left; left &= left - 1) {
                        const int x = word * 64 + __builtin_ctzll(left);
                        if (m.view == View::phase)
                            todo.set(m.phase_y + y * m.stride_y, m.phase_x + x * m.stride_x);
                        else
                            todo.set(0, m.first + y * m.width + x);
                    }
        }
    }
    void run(const Task&) const override {}
    int64_t pixel_cost(const std::vector<Map>&) const override { return 0; }

private:
    std::vector<Map> parts_;
};

}  // namespace

OpPtr make_resize(int x, int, ResizeTable table) { return std::make_unique<Resize>(x, std::move(table)); }
OpPtr make_copy(int x, int) { return std::make_unique<Copy>(x); }
OpPtr make_gather(int x, int out, std::vector<int32_t> index, float fill, const std::vector<Map>& maps) {
    return std::make_unique<Gather>(x, std::move(index), fill, maps[x], maps[out]);
}
OpPtr make_join(int, std::vector<int> parts, const std::vector<Map>& maps) {
    std::vector<Map> views;
    for (int part : parts) views.push_back(maps[part]);
    return std::make_unique<Join>(std::move(views));
}

}  // namespace reconv
