// A driver for sanitizer builds: the core without Python. Random plans stepped by several threads, stale sets against bit
// loops, teams that start and stop. Prints "N checks passed"; exit code 1 when one failed.
//
//   native_tests [seed] [plans]
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <source_location>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/dispatch.hpp"
#include "memory_check.hpp"
#include "state.hpp"

using namespace reconv;

namespace {

std::atomic<int64_t> passed{0}, failed{0}, forks_seen{0};
int64_t objections = 0, overlooked = 0;  // of the memory's checker to plans that were spoiled

void check(bool ok, const std::string& what, std::source_location at = std::source_location::current()) {
    if (ok) {
        passed++;
        return;
    }
    if (failed++ < 20) std::fprintf(stderr, "line %u: %s\n", static_cast<unsigned>(at.line()), what.c_str());
}

class Random {
public:
    explicit Random(uint64_t seed) : engine_(seed) {}
    int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
    bool one_in(int n) { return whole(1, n) == 1; }
    float normal() { return std::normal_distribution<float>()(engine_); }
    std::vector<float> normals(int64_t count, float scale = 1.f) {
        std::vector<float> values(static_cast<size_t>(count));
        for (float& v : values) v = normal() * scale;
        return values;
    }
    template <class T>
    T pick(std::initializer_list<T> values) { return values.begin()[whole(0, static_cast<int>(values.size()) - 1)]; }

private:
    std::mt19937_64 engine_;
};

// --- stale sets

struct BitMap {  // exactly as many words as the set has, so that a sanitizer sees every word too many
    std::vector<uint64_t> words;
    Bits bits;
    BitMap(int height, int width) : words(static_cast<size_t>(height) * words_for(width)) {
        bits = {words.data(), height, width, words_for(width)};
    }
    void scatter(Random& random, int one_in) {
        for (int y = 0; y < bits.height; y++)
            for (int x = 0; x < bits.width; x++)
                if (random.one_in(one_in)) bits.set(y, x);
    }
};

bool clean(const Bits& bits) {  // nothing is set beyond the width
    for (int y = 0; y < bits.height; y++)
        if (const int rest = bits.width & 63; rest && bits.row(y)[bits.row_words - 1] >> rest) return false;
    return true;
}

bool touches(const Bits& in, const Window& w, int y, int x) {
    for (int ky = 0; ky < w.kernel_y; ky++)
        for (int kx = 0; kx < w.kernel_x; kx++) {
            const int from_y = y * w.stride_y - w.pad_y + ky * w.dilation_y, from_x = x * w.stride_x - w.pad_x + kx * w.dilation_x;
            if (from_y >= 0 && from_y < in.height && from_x >= 0 && from_x < in.width && in.test(from_y, from_x)) return true;
        }
    return false;
}

void check_window(Random& random, const Window& w, int in_height, int in_width, int out_height, int out_width) {
    BitMap in(in_height, in_width), out(out_height, out_width);
    in.scatter(random, random.pick({3, 40, 400}));
    out.scatter(random, 50);  // spread adds to what is there
    const BitMap before = out;
    const size_t words = static_cast<size_t>(in.bits.row_words + std::max(in.bits.row_words, words_for(out_width * w.stride_x)) + 2);
    std::vector<uint64_t> row(words, ~uint64_t{0});
    spread(in.bits, out.bits, w, row);
    bool same = true;
    const Bits old{const_cast<uint64_t*>(before.words.data()), out_height, out_width, out.bits.row_words};
    for (int y = 0; y < out_height; y++)
        for (int x = 0; x < out_width; x++) same = same && out.bits.test(y, x) == (old.test(y, x) || touches(in.bits, w, y, x));
    const auto text = [&w] {
        return "spread of kernel " + std::to_string(w.kernel_y) + "x" + std::to_string(w.kernel_x) + " strides " +
               std::to_string(w.stride_y) + " " + std::to_string(w.stride_x) + " pads " + std::to_string(w.pad_y) + " " +
               std::to_string(w.pad_x) + " dilations " + std::to_string(w.dilation_y) + " " + std::to_string(w.dilation_x);
    };
    check(same, same ? "" : text());
    check(clean(out.bits), "spread wrote beyond the width");
}

void test_spread(Random& random) {
    for (int kernel = 1; kernel <= 5; kernel++)
        for (int stride = 1; stride <= 5; stride++)
            for (int pad = -2; pad <= 4; pad++)
                for (int dilation = 1; dilation <= 3; dilation++)
                    for (int width : {1, 2, 9, 63, 64, 65, 130}) {
                        const int fit = (width + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
                        const int out = random.pick({std::max(fit, 1), width, random.whole(1, 140)});
                        const Window across{random.whole(1, 3), kernel, random.whole(1, 2), stride, random.whole(-1, 1), pad,
                                            random.whole(1, 2), dilation};
                        check_window(random, across, random.whole(1, 3), width, random.whole(1, 4), out);
                        const Window down{kernel, random.whole(1, 3), stride, random.whole(1, 2), pad, random.whole(-1, 1), dilation, 1};
                        check_window(random, down, width % 61, random.whole(1, 4), out % 61 + 1, random.whole(1, 5));
                    }
    // paddings and dilations of more than a word
    for (int i = 0; i < 400; i++) {
        const Window w{1, random.whole(1, 4), 1, random.whole(1, 3), 0, random.whole(-150, 150), 1, random.pick({1, 31, 63, 64, 65})};
        check_window(random, w, 2, random.whole(1, 200), 2, random.whole(1, 200));
    }
}

void test_taps(Random& random) {
    for (int i = 0; i < 300; i++) {
        const int in_height = random.whole(1, 9), in_width = random.whole(1, 140), height = random.whole(1, 9), width = random.whole(1, 140);
        Taps taps;
        for (int y = 0; y < height; y++) taps.y0.push_back(random.whole(0, in_height - 1)), taps.y1.push_back(random.whole(0, in_height - 1));
        for (int x = 0; x < width; x++) taps.x0.push_back(random.whole(0, in_width - 1)), taps.x1.push_back(random.whole(0, in_width - 1));
        BitMap in(in_height, in_width), out(height, width);
        in.scatter(random, 20);
        std::vector<uint64_t> row(static_cast<size_t>(in.bits.row_words));
        spread(in.bits, out.bits, taps, row);
        bool same = true;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                bool any = false;
                for (int from_y : {taps.y0[y], taps.y1[y]})
                    for (int from_x : {taps.x0[x], taps.x1[x]}) any = any || in.bits.test(from_y, from_x);
                same = same && out.bits.test(y, x) == any;
            }
        check(same && clean(out.bits), "spread through taps");
    }
}

void test_runs(Random& random) {
    for (int i = 0; i < 1500; i++) {
        const int height = random.whole(1, 4), width = random.pick({1, 2, 63, 64, 65, 127, 128, 129, random.whole(1, 200)});
        BitMap set(height, width);
        if (random.one_in(4)) set.bits.fill();
        else set.scatter(random, random.pick({1, 2, 9, 90}));
        check(clean(set.bits), "fill wrote beyond the width");
        std::vector<Run> runs;
        runs.reserve(static_cast<size_t>(height) * ((width + 1) / 2));
        const size_t room = runs.capacity();
        const int64_t count = collect_runs(set.bits, 0, set.bits.height, runs);
        check(runs.capacity() == room, "more runs than foretold");
        BitMap again(height, width);
        int64_t pixels = 0;
        bool ordered = true;
        for (size_t r = 0; r < runs.size(); r++) {
            ordered = ordered && runs[r].x0 < runs[r].x1 && runs[r].x1 <= width;
            // maximal and ascending: the next run of the row starts behind a gap
            if (r) ordered = ordered && (runs[r].y > runs[r - 1].y || (runs[r].y == runs[r - 1].y && runs[r].x0 > runs[r - 1].x1));
            for (int x = runs[r].x0; x < runs[r].x1; x++) again.bits.set(runs[r].y, x), pixels++;
        }
        check(ordered, "runs out of order");
        check(again.words == set.words && pixels == count && count == set.bits.count(), "runs are not the set");
        check(set.bits.any() == (count > 0), "any");
        set.bits.clear();
        check(!set.bits.any() && set.bits.count() == 0, "clear");
    }
}

// --- teams

void test_team(Random& random) {
    for (int i = 0; i < 60; i++) {
        Threads team(random.whole(1, 6));
        const int steps = random.whole(0, 4);
        for (int s = 0; s < steps; s++) {
            Threads::Session session(team);
            check(session.count() == team.count(), "a free team gives all its members");
            Threads::Session second(team);
            check(second.count() == 1, "a busy team leaves the caller alone");
            for (int run = 0; run < 20; run++) {
                std::vector<int> done(static_cast<size_t>(random.whole(1, 40)), 0);
                std::atomic<int> next{0};
                const std::function<void(float*)> work = [&](float*) {
                    for (int p; (p = next.fetch_add(1)) < static_cast<int>(done.size());) done[p]++;
                };
                (run % 5 == 4 ? second : session).run(work);
                bool once = true;
                for (int n : done) once = once && n == 1;
                check(once, "every piece is done once, and done when run returns");
            }
        }
    }
    bool refused = false;
    try {
        Threads team(0);
    } catch (const std::invalid_argument&) {
        refused = true;
    }
    check(refused, "a team of no threads is refused");
}

// --- random plans

struct Model {
    std::shared_ptr<Plan> plan;
    std::vector<int> maps;  // produced, may be read
};

ActivationSpec some_activation(Random& random) {
    return random.pick<ActivationSpec>({{}, {Activation::clip, 0.f, std::numeric_limits<float>::infinity(), nullptr},
                                        {Activation::silu}, {Activation::leaky, 0.1f}, {Activation::sigmoid},
                                        {Activation::gelu}, {Activation::elu, 0.5f}, {Activation::mish}});
}

void add_conv(Random& random, Model& model, int x, int out, bool padded) {
    Plan& plan = *model.plan;
    const Map m = plan.checked(x), o = plan.checked(out);
    ConvParams p;
    int kernel_y = 1, kernel_x = 1;
    if (padded) {
        kernel_y = random.whole(1, 3), kernel_x = random.pick({1, 3, 5});
        p.stride_y = random.whole(1, 2), p.stride_x = random.whole(1, 3);
        p.dilation_y = random.whole(1, 2), p.dilation_x = random.whole(1, 2);
        p.pad_y = random.whole(-1, 2), p.pad_x = random.whole(-1, 2);
    }
    if (m.channels == o.channels && random.one_in(2)) p.groups = m.channels;
    else if (m.channels % 2 == 0 && o.channels % 2 == 0 && random.one_in(2)) p.groups = 2;
    p.activation = some_activation(random);
    for (int y : model.maps)
        if (plan.checked(y).same_size(o) && random.one_in(2)) {
            p.residual = y;
            p.after = some_activation(random);
        }
    const int inner = m.channels / p.groups;
    const int64_t count = static_cast<int64_t>(o.channels) * inner * kernel_y * kernel_x;
    const auto weight = random.normals(count, 1.2f / std::sqrt(static_cast<float>(inner * kernel_y * kernel_x)));
    const auto bias = random.normals(random.one_in(2) ? 0 : o.channels, 0.2f);
    plan.conv(x, out, weight, {o.channels, inner, kernel_y, kernel_x}, bias, p, !random.one_in(6));
}

void add_op(Random& random, Model& model, int out) {
    Plan& plan = *model.plan;
    const Map o = plan.checked(out);
    std::vector<int> same, as_deep, whole;
    for (int x : model.maps) {
        const Map& m = plan.checked(x);
        if (m.same_size(o)) same.push_back(x);
        if (m.channels == o.channels) as_deep.push_back(x);
        if (m.view == View::whole && plan.roots()[m.root].halo_allowed) whole.push_back(x);
    }
    const auto any_of = [&random](const std::vector<int>& maps) { return maps[static_cast<size_t>(random.whole(0, static_cast<int>(maps.size()) - 1))]; };
    switch (random.whole(0, 9)) {
        case 0:
            if (same.empty()) break;
            plan.unary(any_of(same), out, some_activation(random), {});
            return;
        case 1:
            if (same.empty()) break;
            plan.binary(any_of(same), any_of(same), out, random.pick({Binary::add, Binary::mul, Binary::max}), some_activation(random), {});
            return;
        case 2: {
            if (as_deep.empty()) break;
            const int x = any_of(as_deep);
            const Map m = plan.checked(x);
            ResizeTable table;
            for (int y = 0; y < o.height; y++) {
                table.taps.y0.push_back(random.whole(0, m.height - 1)), table.taps.y1.push_back(random.whole(0, m.height - 1));
                table.wy.push_back(0.25f);
            }
            for (int c = 0; c < o.width; c++) {
                table.taps.x0.push_back(random.whole(0, m.width - 1)), table.taps.x1.push_back(random.whole(0, m.width - 1));
                table.wx.push_back(0.5f);
            }
            plan.resize(x, out, std::move(table));
            return;
        }
        case 3: {
            if (as_deep.empty()) break;
            PoolParams p;
            p.window = {random.whole(1, 3), random.whole(1, 5), random.whole(1, 2), random.whole(1, 2), random.whole(0, 1), random.whole(0, 2), 1, random.whole(1, 2)};
            if (random.one_in(2)) plan.max_pool(any_of(as_deep), out, p, random.one_in(2));
            else plan.average_pool(any_of(as_deep), out, p, random.one_in(2));
            return;
        }
        case 4: {
            const int x = any_of(model.maps);
            const Map m = plan.checked(x);
            std::vector<int32_t> index(static_cast<size_t>(o.height) * o.width * o.channels);
            for (auto& i : index) i = random.whole(-1, m.height * m.width * m.channels - 1);
            plan.gather(x, out, std::move(index), 0.5f);
            return;
        }
        case 5:
            if (same.empty()) break;
            plan.softmax(any_of(same), out);
            return;
        default: break;
    }
    add_conv(random, model, any_of(whole), out, true);
}

// Produces `out` whole or in parts or phases.
void fill(Random& random, Model& model, int out, int depth) {
    Plan& plan = *model.plan;
    const Map o = plan.checked(out);
    std::vector<int> parts;
    if (depth < 2 && o.channels > 1 && random.one_in(4)) {
        const int first = random.whole(1, o.channels - 1);
        parts = {plan.part_of(out, 0, first), plan.part_of(out, first, o.channels - first)};
    } else if (depth < 2 && o.height > 1 && o.width > 1 && random.one_in(5)) {
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++) parts.push_back(plan.phase_of(out, 2, 2, y, x));
    } else if (depth < 2 && o.height == 1 && o.width > 1 && random.one_in(3)) {
        const int first = random.whole(1, o.width - 1);
        parts = {plan.pixels_of(out, 0, first, 1), plan.pixels_of(out, first, 1, o.width - first)};
    }
    if (parts.empty()) {
        add_op(random, model, out);
    } else {
        for (int part : parts) fill(random, model, part, depth + 1);
        plan.join(out, parts);
    }
    model.maps.push_back(out);
}

Model make_model(Random& random, const std::string& isa) {
    Model model{std::make_shared<Plan>(isa), {}};
    Plan& plan = *model.plan;
    const int channels = random.pick({1, 2, 3, 4, 7, 16});
    int height = random.pick({1, 3, 9, 16}), width = random.pick({1, 7, 16, 63, 64, 65});
    const int x = plan.map(height, width, channels);
    if (random.one_in(2)) plan.input(x, {width, 1, static_cast<int64_t>(height) * width});
    else plan.input(x, {static_cast<int64_t>(width) * channels, channels, 1});
    model.maps.push_back(x);
    const int targets = random.whole(1, 6);
    for (int i = 0; i < targets; i++) {
        if (random.one_in(3)) height = (height + 1) / 2, width = (width + 1) / 2;
        const int deep = random.pick({1, 3, 8, 15, 16, 17, 33});
        if (random.one_in(8)) {
            const int from = model.maps.back(), pooled = plan.map(1, 1, plan.checked(from).channels);
            plan.global_pool(from, pooled, random.pick({Global::average, Global::maximum, Global::sum}), true);
            model.maps.push_back(pooled);
        }
        fill(random, model, plan.map(height, width, deep), 0);
    }
    for (int id : {model.maps.back(), model.maps[model.maps.size() / 2]}) {
        const Map m = plan.checked(id);
        plan.output(id, {m.width, 1, static_cast<int64_t>(m.height) * m.width});
    }
    plan.seal();
    return model;
}

using Frames = std::vector<std::vector<float>>;

Frames make_frames(Random& random, const Map& m, int count) {
    Frames frames{random.normals(static_cast<int64_t>(m.height) * m.width * m.channels)};
    while (static_cast<int>(frames.size()) < count) {
        std::vector<float> frame = frames.back();
        const int first = random.whole(0, static_cast<int>(frame.size()) - 1);
        switch (random.whole(0, 4)) {
            case 0: frame = frames[static_cast<size_t>(random.whole(0, static_cast<int>(frames.size()) - 1))]; break;
            case 1: frame[first] = random.pick({NAN, INFINITY, -0.f}); break;
            case 2: frame = random.normals(static_cast<int64_t>(frame.size())); break;
            default:
                for (size_t i = first; i < frame.size() && i < first + 9u; i++) frame[i] = random.normal();
        }
        frames.push_back(std::move(frame));
    }
    return frames;
}

std::vector<float> values_of(const State& state, const std::vector<int>& maps) {
    std::vector<float> values;
    for (int id : maps) {
        const Map& m = state.plan().checked(id);
        for (int y = 0; y < m.height; y++)
            for (int x = 0; x < m.width; x++) values.insert(values.end(), state.pixel(id, y, x), state.pixel(id, y, x) + m.channels);
    }
    return values;
}

// Bit for bit, all NaN as one.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); i++)
        if (std::memcmp(&a[i], &b[i], 4) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
    return true;
}

std::vector<float> outputs_of(const State& state) {
    std::vector<float> values;
    const Plan& plan = state.plan();
    for (size_t i = 0; i < plan.outputs().size(); i++) {
        const Map& m = plan.checked(plan.outputs()[i].map);
        std::vector<float> array(static_cast<size_t>(m.height) * m.width * m.channels);
        state.read(static_cast<int>(i), array.data());
        values.insert(values.end(), array.begin(), array.end());
    }
    return values;
}

void check_step(State& state, const std::vector<float>& frame) {
    const float* source = frame.data();
    state.step({&source, 1});
    int64_t macs = 0;
    for (int op = 0; op < static_cast<int>(state.plan().ops().size()); op++) macs += state.todo(op).count() * state.plan().ops()[op]->macs_per_pixel;
    check(state.recomputed_macs() == macs && macs <= state.plan().macs(), "multiply-adds of a step");
    check(state.bytes() == state.plan().state_bytes(false), "bytes of a state");
}

// Several streams of one plan at once, each on a thread of its own, some sharing a team: every map equals a dense run.
void test_plan(uint64_t seed, const std::string& isa) {
    Random random(seed);
    const Model model = make_model(random, isa);
    const Frames frames = make_frames(random, model.plan->checked(model.plan->inputs()[0].map), 6);
    const auto alone = std::make_shared<Threads>(1), shared = std::make_shared<Threads>(2);
    std::vector<std::vector<float>> expected, expected_outputs;
    for (const auto& frame : frames) {
        State fresh(model.plan, alone, false, 0.f);
        check_step(fresh, frame);
        check(fresh.was_dense(), "the first step is dense");
        expected.push_back(values_of(fresh, model.maps));
        expected_outputs.push_back(outputs_of(fresh));
    }
    const auto stream = [&](std::shared_ptr<Threads> team, bool dense_only, float tolerance) {
        State state(model.plan, std::move(team), dense_only, tolerance);
        for (size_t i = 0; i < frames.size(); i++) {
            if (dense_only) {
                const float* source = frames[i].data();
                state.step({&source, 1});
            } else {
                check_step(state, frames[i]);
            }
            if (tolerance == 0.f || i == 0)
                check(same_bits(outputs_of(state), expected_outputs[i]), "outputs of plan " + std::to_string(seed) + " on " + isa);
            if (!dense_only && tolerance == 0.f)
                check(same_bits(values_of(state, model.maps), expected[i]), "maps of plan " + std::to_string(seed) + " on " + isa);
        }
    };
    std::vector<std::thread> callers;
    callers.emplace_back(stream, shared, false, 0.f);
    callers.emplace_back(stream, shared, true, 0.f);
    callers.emplace_back(stream, std::make_shared<Threads>(3), false, 0.f);
    callers.emplace_back(stream, shared, false, 0.1f);
    for (auto& caller : callers) caller.join();
}

// --- loop orders and shared weights

// Layers of few pixels and many weights, heavy enough to be shared among threads: in groups, with a residual, after a
// depthwise one, and at last a matrix product.
Model make_heavy(Random& random, const std::string& isa) {
    Model model{std::make_shared<Plan>(isa), {}};
    Plan& plan = *model.plan;
    const int height = random.whole(4, 9), width = random.whole(4, 9), channels = random.pick({64, 72, 96}), deep = random.pick({63, 96, 130}),
              wide = random.pick({36, 48, 96});
    const auto conv = [&](int x, int out, int kernel, const ConvParams& p) {
        const int outputs = plan.checked(out).channels, inner = plan.checked(x).channels / p.groups;
        const auto weight = random.normals(static_cast<int64_t>(outputs) * inner * kernel * kernel, 1.f / std::sqrt(static_cast<float>(inner * kernel * kernel)));
        plan.conv(x, out, weight, {outputs, inner, kernel, kernel}, random.normals(outputs), p, true);
        model.maps.push_back(out);
    };
    ConvParams padded, plain, grouped, added;
    padded.pad_y = padded.pad_x = 1;
    padded.activation = some_activation(random);
    padded.after = {Activation::elu, 0.5f};
    grouped = padded, grouped.groups = deep % 3 == 0 && (deep % 2 || random.one_in(2)) ? 3 : 2;
    plain.activation = some_activation(random);
    ConvParams depthwise = padded;
    depthwise.groups = channels, depthwise.after = {};
    const int x = plan.map(height, width, channels);
    plan.input(x, {static_cast<int64_t>(width) * channels, channels, 1});
    model.maps.push_back(x);
    const int a = plan.map(height, width, deep), b = plan.map(height, width, channels), c = plan.map(height, width, channels),
              d = plan.map(height, width, deep), e = plan.map(height, width, wide), f = plan.map(1, 1, wide);
    conv(x, a, 3, padded);
    added.residual = x, added.after = some_activation(random);
    conv(a, b, 1, added);
    conv(b, c, 3, depthwise);
    conv(c, d, 1, plain);
    conv(d, e, 3, grouped);
    plan.global_pool(e, f, Global::average, false);
    const int g = plan.map(1, 1, 1200), h = plan.map(1, 1, 500);
    conv(f, g, 1, plain);
    conv(g, h, 1, plain);
    plan.output(h, {1, 1, 1});
    plan.output(d, {static_cast<int64_t>(width) * deep, deep, 1});
    plan.seal();
    return model;
}

void test_orders(uint64_t seed, const std::string& isa) {
    Random random(seed);
    const Model model = make_heavy(random, isa);
    Plan& plan = *model.plan;
    const Frames frames = make_frames(random, plan.checked(plan.inputs()[0].map), 5);
    const auto team = std::make_shared<Threads>(3);
    std::vector<std::vector<float>> expected;
    for (const Order& order : {Order{false, 1, 0}, Order{false, 64, 1}, Order{true, 1, 6144}, Order{true, 64, 500}, Order{true, 5, 0}}) {
        for (int op = 0; op < static_cast<int>(plan.ops().size()); op++)
            if (plan.order(op)) plan.set_order(op, order);
        for (const auto& threads : {std::make_shared<Threads>(1), team})
            for (const bool dense_only : {false, true}) {
                State state(model.plan, threads, dense_only, 0.f);
                for (size_t i = 0; i < frames.size(); i++) {
                    const float* source = frames[i].data();
                    state.step({&source, 1});
                    if (expected.size() <= i) expected.push_back(outputs_of(state));
                    check(same_bits(outputs_of(state), expected[i]), "order of plan " + std::to_string(seed) + " on " + isa);
                }
            }
    }
    for (const Order& wrong : {Order{false, 0, 0}, Order{true, 65, 0}, Order{true, 1, -1}}) {
        bool refused = false;
        try {
            plan.set_order(0, wrong);
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        check(refused, "an order that cannot be is refused");
    }
}

// --- the memory of dense-only runs

// Taller than those of make_model, so that bands have something to do: a ladder down and up again with a concat on the way.
Model make_ladder(Random& random, const std::string& isa) {
    Model model{std::make_shared<Plan>(isa), {}};
    Plan& plan = *model.plan;
    const int height = random.whole(8, 40), width = random.whole(2, 9), deep = random.pick({1, 4, 8, 16});
    const int x = plan.map(height, width, 3);
    plan.input(x, {width, 1, static_cast<int64_t>(height) * width});
    const auto conv = [&](int from, int out, int kernel, int stride) {
        const Map m = plan.checked(from), o = plan.checked(out);
        ConvParams p;
        p.stride_y = p.stride_x = stride, p.pad_y = p.pad_x = kernel / 2;
        if (m.channels == o.channels && random.one_in(3)) p.groups = m.channels;
        p.activation = some_activation(random);
        if (random.one_in(3) && m.same_size(o)) p.residual = from;
        const auto weight = random.normals(static_cast<int64_t>(o.channels) * (m.channels / p.groups) * kernel * kernel, 0.2f);
        plan.conv(from, out, weight, {o.channels, m.channels / p.groups, kernel, kernel}, {}, p, true);
    };
    const auto same = [&](int from, int channels) {
        const Map m = plan.checked(from);
        const int out = plan.map(m.height, m.width, channels);
        conv(from, out, random.pick({1, 3, 5}), 1);
        return out;
    };
    std::vector<int> wide, parts;
    int at = same(x, deep);
    for (int level = 0; level < 2; level++) {
        const Map m = plan.checked(at);
        wide.push_back(plan.map(m.height, m.width, 2 * deep));
        parts.push_back(plan.part_of(wide.back(), 0, deep));
        conv(at, parts.back(), 3, 1);
        const int down = plan.map((m.height + 1) / 2, (m.width + 1) / 2, deep);
        if (random.one_in(2)) {
            conv(parts.back(), down, 3, 2);
        } else {
            PoolParams p;
            p.window = {2, 2, 2, 2, 0, 0, 1, 1};
            plan.max_pool(parts.back(), down, p, true);
        }
        at = same(down, deep);
        if (random.one_in(2)) {
            const int next = plan.map(plan.checked(at).height, plan.checked(at).width, deep);
            plan.unary(at, next, some_activation(random), {});
            at = next;
        }
    }
    for (int level = 2; level-- > 0;) {
        const Map m = plan.checked(at), o = plan.checked(wide[level]);
        const int up = plan.part_of(wide[level], deep, deep);
        if (o.width < 2 || random.one_in(2)) {
            ResizeTable table;
            for (int y = 0; y < o.height; y++) {
                table.taps.y0.push_back(std::min(y / 2, m.height - 1)), table.taps.y1.push_back(std::min(y / 2 + 1, m.height - 1));
                table.wy.push_back(y % 2 ? 0.5f : 0.f);
            }
            for (int c = 0; c < o.width; c++) {
                table.taps.x0.push_back(std::min(c / 2, m.width - 1)), table.taps.x1.push_back(std::min(c / 2, m.width - 1));
                table.wx.push_back(0.f);
            }
            plan.resize(at, up, std::move(table));
        } else {
            std::vector<int> phases;
            for (int y = 0; y < 2; y++)
                for (int c = 0; c < 2; c++) {
                    phases.push_back(plan.phase_of(up, 2, 2, y, c));
                    conv(at, phases.back(), 1, 1);
                }
            plan.join(up, phases);
        }
        plan.join(wide[level], {parts[level], up});
        at = same(wide[level], deep);
    }
    model.maps = {at, wide[0]};
    for (int id : model.maps) {
        const Map m = plan.checked(id);
        plan.output(id, {m.width, 1, static_cast<int64_t>(m.height) * m.width});
        if (random.one_in(2)) break;
    }
    plan.seal(random.one_in(2));
    return model;
}

// A plan that is wrong in one place.
MemoryPlan spoiled(Random& random, MemoryPlan plan) {
    const size_t s = static_cast<size_t>(random.whole(0, static_cast<int>(plan.places.size()) - 1));
    const size_t i = static_cast<size_t>(random.whole(0, static_cast<int>(plan.steps.size()) - 1));
    switch (random.whole(0, 3)) {
        case 0: plan.places[s].offset = plan.places[static_cast<size_t>(random.whole(0, static_cast<int>(s)))].offset; break;
        case 1: plan.places[s].floats -= plan.storages[s].row_floats; break;
        case 2: plan.steps.erase(plan.steps.begin() + static_cast<std::ptrdiff_t>(i)); break;
        default: plan.steps[i].first++;
    }
    return plan;
}

bool same_steps(const MemoryPlan& a, const MemoryPlan& b) {
    const auto same = [](const Step& x, const Step& y) { return x.kind == y.kind && x.what == y.what && x.first == y.first && x.last == y.last; };
    return std::equal(a.steps.begin(), a.steps.end(), b.steps.begin(), b.steps.end(), same);
}

void test_memory(uint64_t seed, const std::string& isa) {
    Random random(seed);
    const Model model = random.one_in(3) ? make_model(random, isa) : make_ladder(random, isa);
    Plan& plan = *model.plan;
    const Frames frames = make_frames(random, plan.checked(plan.inputs()[0].map), 3);
    std::vector<std::vector<float>> expected;
    for (const auto& frame : frames) {
        State fresh(model.plan, std::make_shared<Threads>(1), false, 0.f);
        const float* source = frame.data();
        fresh.step({&source, 1});
        expected.push_back(outputs_of(fresh));
    }
    const std::string what = "plan " + std::to_string(seed) + " on " + isa;
    const int64_t unlimited = plan.dense_peak_bytes(2);
    plan.limit_memory(0, 2);
    const int64_t least = plan.dense_peak_bytes(2);
    for (const int64_t limit : {unlimited, (unlimited + least) / 2, least + (unlimited - least) / 8, least, least - 4}) {
        plan.limit_memory(limit, 2);
        const std::shared_ptr<const MemoryPlan> memory = plan.memory();
        check(plan.dense_peak_bytes(2) <= std::max(limit, least), "the limit of " + what);
        const std::string fault = MemoryCheck(plan, *memory).fault();
        check(fault.empty(), fault + ": " + what);
        for (int wrong = 0; wrong < 3; wrong++) {
            const MemoryPlan other = spoiled(random, *memory);
            if (!MemoryCheck(plan, other).fault().empty()) objections++;
            else if (!same_steps(other, *memory)) overlooked++;
        }
        for (int threads : {1, 2}) {
            State state(model.plan, std::make_shared<Threads>(threads), true, 0.f);
            check(state.bytes() == plan.state_bytes(true), "bytes of " + what);
            for (size_t i = 0; i < frames.size(); i++) {
                const float* source = frames[i].data();
                std::vector<float> outputs(expected[i].size(), 7.f);
                if (memory->work.stores) {
                    std::vector<float*> targets;
                    float* to = outputs.data();
                    for (const Border& border : plan.outputs()) {
                        const Map& m = plan.checked(border.map);
                        targets.push_back(to);
                        to += static_cast<int64_t>(m.height) * m.width * m.channels;
                    }
                    state.step({&source, 1}, targets);
                } else {
                    state.step({&source, 1});
                    outputs = outputs_of(state);
                }
                check(same_bits(outputs, expected[i]), "outputs of " + what + " under a limit of " + std::to_string(limit));
            }
        }
    }
}

// Branches at once: the memory of all of them is apart, and the outputs are those of one after the other.
void test_forks(uint64_t seed, const std::string& isa) {
    Random random(seed);
    const Model model = random.one_in(2) ? make_model(random, isa) : make_ladder(random, isa);
    Plan& plan = *model.plan;
    const Frames frames = make_frames(random, plan.checked(plan.inputs()[0].map), 3);
    const auto team = std::make_shared<Threads>(3);
    const auto outputs = [&](std::vector<std::vector<float>>& found) {
        State state(model.plan, team, true, 0.f);
        for (const auto& frame : frames) {
            std::vector<std::vector<float>> arrays;
            std::vector<float*> targets;
            if (plan.memory()->work.stores)
                for (const Border& b : plan.outputs()) {
                    const Map m = plan.checked(b.map);
                    arrays.emplace_back(static_cast<size_t>(m.height) * m.width * m.channels);
                }
            for (auto& array : arrays) targets.push_back(array.data());
            const float* source = frame.data();
            state.step({&source, 1}, targets);
            if (targets.empty()) arrays.push_back(outputs_of(state));
            auto& all = found.emplace_back();
            for (const auto& array : arrays) all.insert(all.end(), array.begin(), array.end());
        }
    };
    std::vector<std::vector<float>> expected, found;
    outputs(expected);
    std::vector<int> chosen(plan.forks(2).size());
    for (size_t i = 0; i < chosen.size(); i++) chosen[i] = static_cast<int>(i);
    plan.set_forks(chosen, 2);
    const std::string what = "forks of plan " + std::to_string(seed) + " on " + isa;
    const std::string fault = MemoryCheck(plan, *plan.memory()).fault();
    check(fault.empty(), fault + ": " + what);
    outputs(found);
    for (size_t i = 0; i < frames.size(); i++) check(same_bits(found[i], expected[i]), "outputs, " + what);
    forks_seen += static_cast<int64_t>(chosen.size());
}

void test_weights(Random& random) {
    WeightStore store;
    for (int i = 0; i < 50; i++) {
        const auto values = random.normals(random.whole(0, 40));
        const Lines lines(values.begin(), values.end());
        Lines other = lines;
        const auto first = store.keep(lines), again = store.keep(Lines(lines));
        check(first == again, "equal weights are kept once");
        if (other.empty()) continue;
        other[static_cast<size_t>(random.whole(0, static_cast<int>(other.size()) - 1))] += 1.f;
        check(store.keep(other) != first, "other weights are kept apart");
    }
    std::vector<std::thread> callers;
    std::vector<std::shared_ptr<const Packed>> found(4);
    for (auto& mine : found) callers.emplace_back([&store, &mine] { mine = store.keep(Lines(1000, 3.f)); });
    for (auto& caller : callers) caller.join();
    for (const auto& mine : found) check(mine == found[0], "threads that keep equal weights get the same");
}

}  // namespace

int main(int count, char** arguments) {
    const uint64_t seed = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1;
    const int plans = count > 2 ? std::atoi(arguments[2]) : 40;
    Random random(seed);
    test_spread(random);
    test_taps(random);
    test_runs(random);
    test_team(random);
    test_weights(random);
    for (const std::string& isa : usable_isas())
        for (int i = 0; i < (plans + 3) / 4; i++) test_orders(seed * 1000 + static_cast<uint64_t>(i), isa);
    for (const std::string& isa : usable_isas())
        for (int i = 0; i < plans; i++) test_forks(seed * 1000 + static_cast<uint64_t>(i), isa);
    check(plans < 10 || forks_seen > plans, "forks are found");
    for (const std::string& isa : usable_isas())
        for (int i = 0; i < plans; i++) test_plan(seed * 1000 + static_cast<uint64_t>(i), isa);
    for (const std::string& isa : usable_isas())
        for (int i = 0; i < plans; i++) test_memory(seed * 1000 + static_cast<uint64_t>(i), isa);
    // few are harmless: rows that are zeros anyway, pieces that nothing else comes near
    check(plans < 10 || objections > 4 * overlooked, "the checker of memory plans objects to " + std::to_string(objections) + " and overlooks " + std::to_string(overlooked));
    if (failed) {
        std::fprintf(stderr, "%lld checks failed\n", static_cast<long long>(failed));
        return 1;
    }
    std::printf("%lld checks passed\n", static_cast<long long>(passed));
}
