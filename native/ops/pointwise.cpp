// Ops that work pixel by pixel: activations, affine maps, arithmetic with maps and constants, softmax over channels.
#include <algorithm>
#include <cstring>

#include "op.hpp"

namespace reconv {
namespace {

class Pointwise : public Op {
public:
    Pointwise(const ActivationSpec& spec, std::vector<float> slopes) : spec_(spec), slopes_(std::move(slopes)) {
        spec_.slopes = slopes_.empty() ? nullptr : slopes_.data();
    }
    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t>) const override {
        spread_same(stale, todo, inputs);
    }
    bool may_overwrite(int input, const std::vector<Map>& maps) const override { return maps[inputs[input]].same_size(maps[out]); }
    bool keeps_strides(int) const override { return false; }
    void run(const Task& task) const override {
        const int channels = task.memory.map(out).channels;
        for (const Run& run : task.runs)
            for (int x = run.x0; x < run.x1; x++) {
                float* to = task.memory.pixel(out, run.y, x);
                pixel(task, to, run.y, x, channels);
                task.kernels->activate(to, channels, spec_);
            }
    }
    int64_t bytes() const override { return static_cast<int64_t>(slopes_.size() * sizeof(float)); }

protected:
    virtual void pixel(const Task&, float* to, int y, int x, int channels) const = 0;

private:
    ActivationSpec spec_;
    std::vector<float> slopes_;
};

class Unary final : public Pointwise {
public:
    Unary(int x, const ActivationSpec& spec, std::vector<float> slopes) : Pointwise(spec, std::move(slopes)), x_(x) {}

protected:
    void pixel(const Task& task, float* to, int y, int x, int channels) const override {
        const float* from = task.memory.pixel(x_, y, x);
        if (from != to) std::memcpy(to, from, sizeof(float) * channels);
    }

private:
    int x_;
};

class Affine final : public Pointwise {
public:
    Affine(int x, std::vector<float> scale, std::vector<float> shift, const ActivationSpec& spec, std::vector<float> slopes)
        : Pointwise(spec, std::move(slopes)), x_(x), scale_(std::move(scale)), shift_(std::move(shift)) {}

protected:
    void pixel(const Task& task, float* to, int y, int x, int channels) const override {
        task.kernels->affine(to, task.memory.pixel(x_, y, x), scale_.data(), shift_.data(), channels);
    }

private:
    int x_;
    std::vector<float> scale_, shift_;
};

class BinaryOp final : public Pointwise {
public:
    BinaryOp(int a, int b, Binary kind, const ActivationSpec& spec, std::vector<float> slopes)
        : Pointwise(spec, std::move(slopes)), a_(a), b_(b), kind_(kind) {}

protected:
    void pixel(const Task& task, float* to, int y, int x, int channels) const override {
        const auto at = [&](int id) {
            const Map& m = task.memory.map(id);
            return task.memory.pixel(id, m.height == 1 ? 0 : y, m.width == 1 ? 0 : x);
        };
        task.kernels->binary(kind_, to, at(a_), task.memory.map(a_).channels != 1, at(b_),
                             task.memory.map(b_).channels != 1, channels);
    }

private:
    int a_, b_;
    Binary kind_;
};

class BinaryConstant final : public Pointwise {
public:
    BinaryConstant(int x, Binary kind, Constant constant, bool first, const ActivationSpec& spec, std::vector<float> slopes)
        : Pointwise(spec, std::move(slopes)), x_(x), kind_(kind), constant_(std::move(constant)), first_(first) {}

    int64_t bytes() const override {
        return Pointwise::bytes() + static_cast<int64_t>(constant_.values.size() * sizeof(float));
    }

protected:
    void pixel(const Task& task, float* to, int y, int x, int channels) const override {
        const Map& m = task.memory.map(x_);
        const float* value = task.memory.pixel(x_, m.height == 1 ? 0 : y, m.width == 1 ? 0 : x);
        const int row = constant_.height == 1 ? 0 : y, column = constant_.width == 1 ? 0 : x;
        const float* constant =
            constant_.values.data() + (static_cast<int64_t>(row) * constant_.width + column) * constant_.channels;
        const int value_step = m.channels != 1, constant_step = constant_.channels != 1;
        if (first_)
            task.kernels->binary(kind_, to, constant, constant_step, value, value_step, channels);
        else
            task.kernels->binary(kind_, to, value, value_step, constant, constant_step, channels);
    }

private:
    int x_;
    Binary kind_;
    Constant constant_;
    bool first_;
};

class Softmax final : public Pointwise {
public:
    explicit Softmax(int x) : Pointwise({}, {}), x_(x) {}

protected:
    void pixel(const Task& task, float* to, int y, int x, int channels) const override {
        task.kernels->softmax(to, task.memory.pixel(x_, y, x), channels);
    }

private:
    int x_;
};

}  // namespace

OpPtr make_unary(int x, int, const ActivationSpec& spec, std::vector<float> slopes) {
    return std::make_unique<Unary>(x, spec, std::move(slopes));
}
OpPtr make_affine(int x, int, std::vector<float> scale, std::vector<float> shift, const ActivationSpec& spec,
                  std::vector<float> slopes) {
    return std::make_unique<Affine>(x, std::move(scale), std::move(shift), spec, std::move(slopes));
}
OpPtr make_binary(int a, int b, int, Binary kind, const ActivationSpec& spec, std::vector<float> slopes,
                  const std::vector<Map>&) {
    return std::make_unique<BinaryOp>(a, b, kind, spec, std::move(slopes));
}
OpPtr make_binary_constant(int x, int, Binary kind, Constant constant, bool constant_first, const ActivationSpec& spec,
                           std::vector<float> slopes) {
    return std::make_unique<BinaryConstant>(x, kind, std::move(constant), constant_first, spec, std::move(slopes));
}
OpPtr make_softmax(int x, int) { return std::make_unique<Softmax>(x); }

}  // namespace reconv
