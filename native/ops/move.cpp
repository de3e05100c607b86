// Ops that only move values, floats or codes: resize, copy, gather, and the join of a map whose parts were written in place.
#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "op.hpp"

namespace reconv {
namespace {

template <class T>
T* at(const Task& task, int map, int y, int x) {
    return reinterpret_cast<T*>(task.memory.pixel(map, y, x));
}

class Resize final : public Op {
public:
    Resize(int x, ResizeTable table) : x_(x), table_(std::move(table)), nearest_(table_.nearest()) {}
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override {
        reconv::spread(stale[0], todo, table_.taps, row);
    }
    Rows rows(int, int y, const std::vector<Map>&) const override {
        const int a = table_.taps.y0[y], b = table_.taps.y1[y];
        return {std::min(a, b), std::max(a, b) + 1};
    }
    bool keeps_strides(int) const override { return false; }
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
    Rows rows(int, int y, const std::vector<Map>& maps) const override {
        const int64_t width = maps[out].width, first = y * width, across = maps[x_].width;
        return {static_cast<int>(first / across), static_cast<int>((first + width - 1) / across) + 1};
    }
    bool keeps_strides(int) const override { return false; }
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

// A gather that repeats itself, whole blocks of output pixels over whole strides of input pixels: pixel shuffles (depth to
// space and back), channel shuffles, strided windows. The table is that of one block, and nothing is looked up per value.
struct Blocks {
    struct Piece {  // values of one output pixel that come from one input pixel, `step` channels apart
        int to, count, dy, dx, channel, step;
        ptrdiff_t offset = 0;  // of the first, from the block's first input pixel, in values
    };
    struct Source {  // an input pixel that an output pixel reads
        int dy, dx;
        bool operator==(const Source&) const = default;
    };
    int height = 1, width = 1;      // of a block of output pixels
    int stride_y = 1, stride_x = 1; // from block to block, in input pixels
    std::vector<std::vector<Piece>> pieces;    // per output pixel of a block
    std::vector<std::vector<Source>> sources;

    static std::optional<Blocks> find(std::span<const int32_t> index, const Map& in, const Map& to) {
        constexpr int kLargest = 8;
        if (std::any_of(index.begin(), index.end(), [](int32_t i) { return i < 0; })) return std::nullopt;
        for (int height = 1; height <= std::min(kLargest, to.height); height++)
            for (int width = 1; width <= std::min(kLargest, to.width); width++)
                if (auto found = with(height, width, index, in, to)) return found;
        return std::nullopt;
    }

private:
    static std::optional<Blocks> with(int height, int width, std::span<const int32_t> index, const Map& in, const Map& to) {
        const auto at = [&](int y, int x) { return index.data() + (static_cast<int64_t>(y) * to.width + x) * to.depth(); };
        Blocks b;
        b.height = height, b.width = width;
        const int first = at(0, 0)[0] / in.depth();
        if (to.height > height) b.stride_y = at(height, 0)[0] / in.depth() / in.width - first / in.width;
        if (to.width > width) b.stride_x = at(0, width)[0] / in.depth() % in.width - first % in.width;
        if (b.stride_y < 1 || b.stride_x < 1) return std::nullopt;
        for (int y = 0; y < to.height; y++)
            for (int x = 0; x < to.width; x++) {
                const int32_t* values = at(y, x);
                const int32_t* block = at(y % height, x % width);
                const int dy = y / height * b.stride_y, dx = x / width * b.stride_x;
                const int32_t moved = (dy * in.width + dx) * in.depth();
                for (int c = 0; c < to.depth(); c++)  // the column too: a row's end may run into the next row
                    if (values[c] != block[c] + moved || block[c] / in.depth() % in.width + dx >= in.width) return std::nullopt;
            }
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) b.read(at(y, x), in, to.depth());
        return b;
    }

    void read(const int32_t* values, const Map& in, int channels) {
        auto& of = pieces.emplace_back();
        auto& from = sources.emplace_back();
        for (int c = 0; c < channels;) {
            const int pixel = values[c] / in.depth(), channel = values[c] % in.depth();
            int count = 1;
            const int step = c + 1 < channels ? values[c + 1] - values[c] : 1;
            while (c + count < channels && step > 0 && values[c + count] == values[c] + count * step &&
                   values[c + count] / in.depth() == pixel)
                count++;
            const Source source{pixel / in.width, pixel % in.width};
            of.push_back({c, count, source.dy, source.dx, channel, count > 1 ? step : 1});
            if (std::find(from.begin(), from.end(), source) == from.end()) from.push_back(source);
            c += count;
        }
    }
};

template <class T>
class BlockGather final : public Op {
public:
    BlockGather(int x, Blocks blocks) : x_(x), blocks_(std::move(blocks)) {}

    void prepare(const Kernels&, const std::vector<Map>& maps) override {
        const Map &in = maps[x_], &o = maps[out];
        for (auto& pieces : blocks_.pieces)
            for (auto& p : pieces) p.offset = (p.dy * in.row_stride + p.dx * in.pixel_stride) * kPerWord + p.channel;
        // a row of a block at a time, where pixels follow one another: what is in order in the input too becomes one piece
        rows_.resize(blocks_.height);
        for (int y = 0; y < blocks_.height; y++)
            for (int x = 0; x < blocks_.width; x++)
                for (Blocks::Piece p : blocks_.pieces[y * blocks_.width + x]) {
                    p.to += static_cast<int>(x * o.pixel_stride * kPerWord);
                    auto& row = rows_[y];
                    if (!row.empty() && row.back().step == 1 && p.step == 1 && row.back().to + row.back().count == p.to &&
                        row.back().offset + row.back().count == p.offset)
                        row.back().count += p.count;
                    else
                        row.push_back(p);
                }
    }
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override {
        const Bits& in = stale[0];
        for (int y = 0; y < todo.height; y++)
            for (int phase = 0; phase < blocks_.width; phase++)
                for (const auto& source : blocks_.sources[y % blocks_.height * blocks_.width + phase]) {
                    const int row = y / blocks_.height * blocks_.stride_y + source.dy;
                    for (int word = 0; word < in.row_words; word++)
                        for (uint64_t left = in.row(row)[word]; left; left &= left - 1) {
                            const int moved = word * 64 + __builtin_ctzll(left) - source.dx;
                            const int64_t x = static_cast<int64_t>(moved / blocks_.stride_x) * blocks_.width + phase;
                            if (moved >= 0 && moved % blocks_.stride_x == 0 && x < todo.width) todo.set(y, static_cast<int>(x));
                        }
                }
    }
    Rows rows(int, int y, const std::vector<Map>&) const override {
        const int first = y / blocks_.height * blocks_.stride_y;
        int low = std::numeric_limits<int>::max(), high = 0;
        for (int phase = 0; phase < blocks_.width; phase++)
            for (const auto& source : blocks_.sources[y % blocks_.height * blocks_.width + phase])
                low = std::min(low, first + source.dy), high = std::max(high, first + source.dy + 1);
        return {low, high};
    }
    bool keeps_strides(int input) const override { return input <= 0; }
    std::shared_ptr<Op> twin(const Kernels& kernels, const std::vector<Map>& maps) const override {
        auto op = std::make_shared<BlockGather>(*this);
        op->rows_.clear();
        op->prepare(kernels, maps);
        return op;
    }
    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        for (const Run& run : task.runs) {
            const int phase_y = run.y % blocks_.height, width = blocks_.width;
            const auto* pieces = blocks_.pieces.data() + phase_y * width;
            const T* row = at<T>(task, x_, run.y / blocks_.height * blocks_.stride_y, 0);
            const ptrdiff_t block = blocks_.stride_x * in.pixel_stride * kPerWord, pixel = o.pixel_stride * kPerWord;
            T* to = at<T>(task, out, run.y, run.x0);
            int x = run.x0;
            const auto single = [&] {
                for (const auto& p : pieces[x % width]) copy(to + p.to, row + x / width * block + p.offset, p);
                x++, to += pixel;
            };
            while (x < run.x1 && x % width) single();
            const T* from = row + x / width * block;
            for (; x + width <= run.x1; x += width, from += block, to += width * pixel)
                for (const auto& p : rows_[phase_y]) copy(to + p.to, from + p.offset, p);
            while (x < run.x1) single();
        }
    }
    int64_t bytes() const override {
        int64_t total = 0;
        for (const auto* lists : {&blocks_.pieces, &rows_})
            for (const auto& pieces : *lists) total += static_cast<int64_t>(pieces.size() * sizeof(Blocks::Piece));
        for (const auto& sources : blocks_.sources) total += static_cast<int64_t>(sources.size() * sizeof(Blocks::Source));
        return total;
    }

private:
    static void copy(T* to, const T* from, const Blocks::Piece& p) {
        if (p.step != 1) {
            for (int c = 0; c < p.count; c++) to[c] = from[static_cast<ptrdiff_t>(c) * p.step];
            return;
        }
        switch (p.count) {  // a call of memcpy costs more than the copy of a few values
            case 1: *to = *from; break;
            case 2: std::memcpy(to, from, 2 * sizeof(T)); break;
            case 3: std::memcpy(to, from, 3 * sizeof(T)); break;
            case 4: std::memcpy(to, from, 4 * sizeof(T)); break;
            case 6: std::memcpy(to, from, 6 * sizeof(T)); break;
            case 8: std::memcpy(to, from, 8 * sizeof(T)); break;
            default: std::memcpy(to, from, sizeof(T) * p.count);
        }
    }

    static constexpr int kPerWord = sizeof(float) / sizeof(T);

    int x_;
    Blocks blocks_;
    std::vector<std::vector<Blocks::Piece>> rows_;  // of a block, all its pixels together
};

// Any other.
template <class T>
class Gather final : public Op {
public:
    Gather(int x, std::vector<int32_t> index, T fill, const Map& in, const Map& to)
        : x_(x), index_(std::move(index)), fill_(fill) {
        // which input pixels each output pixel reads, without repetition
        const int channels = to.depth();
        std::vector<int32_t> pixels;
        first_.push_back(0);
        for (size_t p = 0; p < index_.size(); p += channels) {
            pixels.clear();
            for (int c = 0; c < channels; c++)
                if (index_[p + c] >= 0) pixels.push_back(index_[p + c] / in.depth());
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
    Rows rows(int, int y, const std::vector<Map>& maps) const override {
        const int64_t pixel = static_cast<int64_t>(y) * maps[out].width;
        int low = std::numeric_limits<int>::max(), high = 0;
        for (int32_t i = first_[pixel]; i < first_[pixel + maps[out].width]; i++) {
            const int row = sources_[i] / maps[x_].width;
            low = std::min(low, row), high = std::max(high, row + 1);
        }
        return {low, high};
    }
    bool keeps_strides(int) const override { return false; }
    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        for (const Run& run : task.runs)
            for (int x = run.x0; x < run.x1; x++) {
                T* to = at<T>(task, out, run.y, x);
                const int32_t* index = index_.data() + (static_cast<int64_t>(run.y) * o.width + x) * o.depth();
                for (int c = 0; c < o.depth();) {
                    const int32_t i = index[c];
                    if (i < 0) {
                        to[c++] = fill_;
                        continue;
                    }
                    const int pixel = i / in.depth(), channel = i % in.depth();
                    // the following channels, as long as they come from the same pixel in order
                    int length = 1;
                    while (c + length < o.depth() && channel + length < in.depth() && index[c + length] == i + length) length++;
                    std::memcpy(to + c, at<T>(task, x_, pixel / in.width, pixel % in.width) + channel, sizeof(T) * length);
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
    T fill_;
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
    Rows rows(int input, int y, const std::vector<Map>&) const override {
        const Map& m = parts_[input];
        if (m.view == View::part) return {y, y + 1};
        if (m.view == View::pixels) return {0, m.height};
        const int row = (y - m.phase_y) / m.stride_y;
        const bool mine = y >= m.phase_y && (y - m.phase_y) % m.stride_y == 0;
        return {row, row + mine};
    }
    bool keeps_strides(int) const override { return false; }
    void run(const Task&) const override {}
    int64_t pixel_cost(const std::vector<Map>&) const override { return 0; }

private:
    std::vector<Map> parts_;
};

}  // namespace

bool ResizeTable::nearest() const {
    const auto zero = [](float weight) { return weight == 0.f; };
    return std::all_of(wy.begin(), wy.end(), zero) && std::all_of(wx.begin(), wx.end(), zero);
}

OpPtr make_resize(int x, int, ResizeTable table) { return std::make_unique<Resize>(x, std::move(table)); }
OpPtr make_copy(int x, int) { return std::make_unique<Copy>(x); }
OpPtr make_gather(int x, int out, std::vector<int32_t> index, float fill, const std::vector<Map>& maps) {
    const bool codes = maps[x].codes > 0;
    if (auto blocks = Blocks::find(index, maps[x], maps[out])) {
        if (codes) return std::make_unique<BlockGather<uint8_t>>(x, std::move(*blocks));
        return std::make_unique<BlockGather<float>>(x, std::move(*blocks));
    }
    if (codes) return std::make_unique<Gather<uint8_t>>(x, std::move(index), static_cast<uint8_t>(fill), maps[x], maps[out]);
    return std::make_unique<Gather<float>>(x, std::move(index), fill, maps[x], maps[out]);
}
OpPtr make_join(int, std::vector<int> parts, const std::vector<Map>& maps) {
    std::vector<Map> views;
    for (int part : parts) views.push_back(maps[part]);
    return std::make_unique<Join>(std::move(views));
}

}  // namespace reconv
