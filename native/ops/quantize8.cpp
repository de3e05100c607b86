// Ops that make codes pixel by pixel, from floats or other codes, and floats from codes.
//
// What moves a little often comes out as the same code: in streams every pixel is compared with the stored one, whether or not
// the map is under cutoff, and where all codes are equal nothing has moved.
#include <algorithm>
#include <cstring>

#include "../kernels/kernels8.hpp"
#include "op8.hpp"

namespace reconv {
namespace {

const uint8_t* codes_at(const Task& task, int map, int y, int x) { return reinterpret_cast<const uint8_t*>(task.memory.pixel(map, y, x)); }

// Whether neighbours' values follow one another without a gap.
bool gapless(const Map& m) { return m.pixel_stride == m.channels && (m.codes == 0 || m.codes % 4 == 0); }

class Codewise : public Op {
public:
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override { spread_same(stale, todo, inputs); }
    bool may_overwrite(int input, const std::vector<Map>& maps) const override { return maps[inputs[input]].same_size(maps[out]); }
    bool keeps_strides(int) const override { return false; }
    bool compares() const override { return true; }
    int64_t scratch_floats(const Kernels&, const std::vector<Map>& maps, bool) const override {
        return static_cast<int64_t>(kTogether) * fresh_floats(maps[out]);
    }
    void run(const Task& task) const override {
        const Map& o = task.memory.map(out);
        const bool flowing = std::all_of(inputs.begin(), inputs.end(), [&](int id) {
            const Map& m = task.memory.map(id);
            return m.same_pixels(o) && gapless(m) && m.depth() == o.depth();
        });
        const bool straight = !task.cutoff.compare && (!flowing || gapless(o));  // into the map
        for (const Run& run : task.runs) {
            const int step = !straight ? kTogether : flowing ? run.x1 - run.x0 : 1;
            for (int x = run.x0; x < run.x1; x += step) {
                if (straight) make(task, reinterpret_cast<uint8_t*>(task.memory.pixel(out, run.y, x)), run.y, x, step);
                else make_apart(task, run.y, x, std::min(kTogether, run.x1 - x), flowing);
            }
        }
    }

protected:
    // The codes of `pixels` neighbours; more than one only where the values of all inputs follow one another.
    virtual void make(const Task&, uint8_t* to, int y, int x, int pixels) const = 0;

private:
    static constexpr int kTogether = 32;  // pixels that are made in scratch together

    static int64_t fresh_floats(const Map& m) { return m.channels + kSlack8 / 4; }

    // In scratch first, then compared with the map, or put there.
    void make_apart(const Task& task, int y, int x, int pixels, bool flowing) const {
        const Map& o = task.memory.map(out);
        uint8_t *fresh[kTogether], *stored[kTogether];
        auto* const first = reinterpret_cast<uint8_t*>(task.scratch);
        const int64_t step = flowing ? o.codes : fresh_floats(o) * 4;
        for (int i = 0; i < pixels; i++) {
            fresh[i] = first + i * step;
            stored[i] = reinterpret_cast<uint8_t*>(task.memory.pixel(out, y, x + i));
        }
        if (flowing) make(task, first, y, x, pixels);
        else
            for (int i = 0; i < pixels; i++) make(task, fresh[i], y, x + i, 1);
        if (!task.cutoff.compare && o.codes < 4) {  // a word, whatever comes behind the codes: frames have three of them
            for (int i = 0; i < pixels; i++) std::memcpy(stored[i], fresh[i], 4);
            return;
        }
        if (!task.cutoff.compare) return task.kernels->codes->put8(~uint32_t{0} >> (kTogether - pixels), fresh, stored, o.codes);
        const uint32_t moved = task.kernels->codes->cut8(~uint32_t{0} >> (kTogether - pixels), fresh, stored, o.codes, nullptr, 0.f, 1.f);
        if (!moved) return;
        const uint64_t bits = moved, shift = x & 63;
        uint64_t* const word = task.cutoff.moved.row(y) + (x >> 6);
        task.set(word, bits << shift);
        if (shift > 32 && bits >> (64 - shift)) task.set(word + 1, bits >> (64 - shift));
    }
};

class Quantize final : public Codewise {
public:
    Quantize(int x, const Coding& to) : x_(x), to_(to) {}

protected:
    void make(const Task& task, uint8_t* to, int y, int x, int pixels) const override {
        const int64_t count = static_cast<int64_t>(pixels) * task.memory.map(out).codes;
        task.kernels->codes->quantize_row(to, task.memory.pixel(x_, y, x), count, to_.inverse(), to_.zero);
    }

private:
    int x_;
    Coding to_;
};

class Requantize final : public Codewise {
public:
    Requantize(int x, const Coding& from, const Coding& to) : x_(x), from_(from), to_(to) {}

protected:
    void make(const Task& task, uint8_t* to, int y, int x, int pixels) const override {
        const int64_t count = static_cast<int64_t>(pixels) * task.memory.map(out).codes;
        task.kernels->codes->requantize_row(to, codes_at(task, x_, y, x), count, from_.scale, from_.zero, to_.inverse(), to_.zero);
    }

private:
    int x_;
    Coding from_, to_;
};

class Table8 final : public Codewise {
public:
    Table8(int x, std::vector<uint8_t> table) : x_(x), table_(std::move(table)) {}
    int64_t bytes() const override { return static_cast<int64_t>(table_.size()); }

protected:
    void make(const Task& task, uint8_t* to, int y, int x, int pixels) const override {
        const int64_t count = static_cast<int64_t>(pixels) * task.memory.map(out).codes;
        task.kernels->codes->table_row(to, codes_at(task, x_, y, x), count, table_.data());
    }

private:
    int x_;
    std::vector<uint8_t> table_;
};

class AddCodes final : public Codewise {
public:
    AddCodes(int a, int b, const Add8& add) : a_(a), b_(b), add_(add) {}

protected:
    void make(const Task& task, uint8_t* to, int y, int x, int pixels) const override {
        const int64_t count = static_cast<int64_t>(pixels) * task.memory.map(out).codes;
        task.kernels->codes->add8(to, codes_at(task, a_, y, x), codes_at(task, b_, y, x), count, add_);
    }

private:
    int a_, b_;
    Add8 add_;
};

// Any arithmetic, through rows of floats.
class Binary8 final : public Codewise {
public:
    Binary8(int a, int b, Binary kind, const Coding& of_a, const Coding& of_b, const Coding& to, const ActivationSpec& spec,
            std::vector<float> slopes)
        : from_{{a, of_a}, {b, of_b}}, kind_(kind), to_(to), spec_(spec), slopes_(std::move(slopes)) {
        spec_.slopes = slopes_.empty() ? nullptr : slopes_.data();
    }
    bool may_overwrite(int input, const std::vector<Map>& maps) const override {
        return maps[inputs[0]].same_size(maps[inputs[1]]) && Codewise::may_overwrite(input, maps);
    }
    int64_t bytes() const override { return static_cast<int64_t>(slopes_.size() * sizeof(float)); }
    int64_t pixel_cost(const std::vector<Map>& maps) const override { return maps[out].codes; }

protected:
    void make(const Task& task, uint8_t* to, int y, int x, int pixels) const override {
        const int depth = task.memory.map(out).codes;
        for (int i = 0; i < pixels; i++)
            for (int c = 0; c < depth; c += kPiece) piece(task, to + i * depth + c, y, x + i, c, std::min(kPiece, depth - c));
    }

private:
    static constexpr int kPiece = 64;
    struct From {
        int map;
        Coding coding;
    };

    void piece(const Task& task, uint8_t* to, int y, int x, int first, int count) const {
        float values[2][kPiece];
        int step[2];
        for (int i = 0; i < 2; i++) {
            const Map& m = task.memory.map(from_[i].map);
            const uint8_t* codes = codes_at(task, from_[i].map, m.height == 1 ? 0 : y, m.width == 1 ? 0 : x);
            step[i] = m.codes != 1;
            task.kernels->codes->dequantize_row(values[i], codes + (step[i] ? first : 0), step[i] ? count : 1, from_[i].coding.scale, from_[i].coding.zero);
        }
        float result[kPiece];
        task.kernels->binary(kind_, result, values[0], step[0], values[1], step[1], count);
        ActivationSpec spec = spec_;
        if (spec.slopes) spec.slopes += first;
        task.kernels->activate(result, count, spec);
        task.kernels->codes->quantize_row(to, result, count, to_.inverse(), to_.zero);
    }

    From from_[2];
    Binary kind_;
    Coding to_;
    ActivationSpec spec_;
    std::vector<float> slopes_;
};

class Dequantize final : public Op {
public:
    Dequantize(int x, const Coding& from) : x_(x), from_(from) {}
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override { spread_same(stale, todo, inputs); }
    bool keeps_strides(int) const override { return false; }
    void run(const Task& task) const override {
        const Map &in = task.memory.map(x_), &o = task.memory.map(out);
        const bool together = gapless(in) && gapless(o);
        for (const Run& run : task.runs) {
            const int step = together ? run.x1 - run.x0 : 1;
            for (int x = run.x0; x < run.x1; x += step)
                task.kernels->codes->dequantize_row(task.memory.pixel(out, run.y, x), codes_at(task, x_, run.y, x),
                                                    static_cast<int64_t>(step) * o.channels, from_.scale, from_.zero);
        }
    }

private:
    int x_;
    Coding from_;
};

}  // namespace

OpPtr make_quantize(int x, const Coding& coding) { return std::make_unique<Quantize>(x, coding); }
OpPtr make_dequantize(int x, const Coding& coding) { return std::make_unique<Dequantize>(x, coding); }
OpPtr make_requantize(int x, const Coding& from, const Coding& to) { return std::make_unique<Requantize>(x, from, to); }
OpPtr make_table8(int x, std::vector<uint8_t> table) { return std::make_unique<Table8>(x, std::move(table)); }
OpPtr make_add8(int a, int b, const Coding& of_a, const Coding& of_b, const Coding& to, const ActivationSpec& spec) {
    Add8 add{of_a.scale, of_b.scale, of_a.zero, of_b.zero, spec.kind, spec.a, spec.b, to.inverse(), to.zero};
    return std::make_unique<AddCodes>(a, b, add);
}
OpPtr make_binary8(int a, int b, Binary kind, const Coding& of_a, const Coding& of_b, const Coding& to, const ActivationSpec& spec,
                   std::vector<float> slopes) {
    return std::make_unique<Binary8>(a, b, kind, of_a, of_b, to, spec, std::move(slopes));
}

}  // namespace reconv
