// Random plans and frames.
#include <cmath>
#include <cstring>
#include <limits>

#include "models8.hpp"

namespace reconv::testing {

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
    if (m.depth() == o.depth() && random.one_in(2)) p.groups = m.depth();
    else if (m.depth() % 2 == 0 && o.depth() % 2 == 0 && random.one_in(2)) p.groups = 2;
    p.activation = some_activation(random);
    for (int y : model.maps) {
        const Map& r = plan.checked(y);
        if (r.same_pixels(o) && r.depth() == o.depth() && (r.codes > 0) == (m.codes > 0) && random.one_in(2)) {
            p.residual = y;
            p.after = some_activation(random);
        }
    }
    any_conv(random, plan, x, out, kernel_y, kernel_x, p, !random.one_in(6));
}

namespace {

void add_op(Random& random, Model& model, int out) {
    Plan& plan = *model.plan;
    const Map o = plan.checked(out);
    if (o.codes || random.one_in(4)) {
        if (add_op8(random, model, out)) return;
    }
    std::vector<int> all, same, as_deep, whole;
    for (int x : model.maps) {
        const Map& m = plan.checked(x);
        if (m.codes) continue;
        all.push_back(x);
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
            const int x = any_of(all);
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
    const int unit = o.codes ? 4 : 1;  // parts of codes begin at whole words
    if (depth < 2 && o.channels > 1 && random.one_in(4)) {
        const int first = unit * random.whole(1, o.channels - 1);
        parts = {plan.part_of(out, 0, first), plan.part_of(out, first, o.depth() - first)};
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

}  // namespace

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
            model.maps.push_back(pooled(random, plan, model.maps.back()));
        }
        fill(random, model, random.one_in(2) ? plan.map8(height, width, deep, random.whole(0, 255)) : plan.map(height, width, deep), 0);
    }
    for (int made : {model.maps.back(), model.maps[model.maps.size() / 2]}) {
        const int id = as_floats(plan, made);
        const Map m = plan.checked(id);
        plan.output(id, {m.width, 1, static_cast<int64_t>(m.height) * m.width});
    }
    plan.seal();
    return model;
}

Model make_heavy(Random& random, const std::string& isa, bool codes) {
    Model model{std::make_shared<Plan>(isa), {}};
    Plan& plan = *model.plan;
    const int height = random.whole(4, 9), width = random.whole(4, 9), channels = random.pick({64, 72, 96}), deep = random.pick({63, 96, 130}),
              wide = random.pick({36, 48, 96});
    const auto conv = [&](int x, int out, int kernel, const ConvParams& p) {
        any_conv(random, plan, x, out, kernel, kernel, p, true);
        model.maps.push_back(out);
    };
    const auto map = [&](int rows, int columns, int depth) { return new_map(random, plan, codes, rows, columns, depth); };
    ConvParams padded, plain, grouped, added;
    padded.pad_y = padded.pad_x = 1;
    padded.activation = some_activation(random);
    if (!codes) padded.after = {Activation::elu, 0.5f};
    grouped = padded, grouped.groups = deep % 3 == 0 && (deep % 2 || random.one_in(2)) ? 3 : 2;
    plain.activation = some_activation(random);
    ConvParams depthwise = padded;
    depthwise.groups = channels, depthwise.after = {};
    const int frame = plan.map(height, width, channels);
    plan.input(frame, {static_cast<int64_t>(width) * channels, channels, 1});
    const int x = codes ? as_codes(random, plan, frame) : frame;
    model.maps.push_back(x);
    const int a = map(height, width, deep), b = map(height, width, channels), c = map(height, width, channels), d = map(height, width, deep),
              e = map(height, width, wide);
    conv(x, a, 3, padded);
    added.residual = x, added.after = some_activation(random);
    conv(a, b, 1, added);
    conv(b, c, 3, depthwise);
    conv(c, d, 1, plain);
    conv(d, e, 3, grouped);
    const int f = pooled(random, plan, e), g = map(1, 1, 1200), h = plan.map(1, 1, 500);  // codes come out as reals
    conv(f, g, 1, plain);
    conv(g, h, 1, plain);
    plan.output(h, {1, 1, 1});
    plan.output(as_floats(plan, d), {static_cast<int64_t>(width) * deep, deep, 1});
    plan.seal();
    return model;
}

Model make_ladder(Random& random, const std::string& isa) {
    Model model{std::make_shared<Plan>(isa), {}};
    Plan& plan = *model.plan;
    const bool codes = random.one_in(2);
    const int height = random.whole(8, 40), width = random.whole(2, 9), deep = codes ? random.pick({4, 8, 16}) : random.pick({1, 4, 8, 16});
    const int frame = plan.map(height, width, 3);
    plan.input(frame, {width, 1, static_cast<int64_t>(height) * width});
    const int x = codes && random.one_in(2) ? as_codes(random, plan, frame) : frame;
    // codes where there is no telling floats
    const auto map = [&](int rows, int columns, int depth) { return new_map(random, plan, codes, rows, columns, depth); };
    const auto conv = [&](int from, int out, int kernel, int stride) {
        const Map m = plan.checked(from), o = plan.checked(out);
        ConvParams p;
        p.stride_y = p.stride_x = stride, p.pad_y = p.pad_x = kernel / 2;
        if (m.depth() == o.depth() && random.one_in(3)) p.groups = m.depth();
        p.activation = some_activation(random);
        if (random.one_in(3) && m.same_size(o)) p.residual = from;
        any_conv(random, plan, from, out, kernel, kernel, p, true);
    };
    const auto same = [&](int from, int channels) {
        const Map m = plan.checked(from);
        int out = map(m.height, m.width, channels);
        if (m.codes == 0 && codes) {  // an island of floats before codes
            const int floats = plan.map(m.height, m.width, channels);
            conv(from, floats, 3, 1);
            plan.quantize(floats, out, coding_of(plan, out));
        } else {
            conv(from, out, random.pick({1, 3, 5}), 1);
        }
        return out;
    };
    std::vector<int> wide, parts;
    int at = same(x, deep);
    for (int level = 0; level < 2; level++) {
        const Map m = plan.checked(at);
        wide.push_back(map(m.height, m.width, 2 * deep));
        parts.push_back(plan.part_of(wide.back(), 0, deep));
        conv(at, parts.back(), 3, 1);
        const int down = map((m.height + 1) / 2, (m.width + 1) / 2, deep);
        if (random.one_in(2)) {
            conv(parts.back(), down, 3, 2);
        } else {
            PoolParams p;
            p.window = {2, 2, 2, 2, 0, 0, 1, 1};
            plan.max_pool(parts.back(), down, p, true);
        }
        at = same(down, deep);
        if (random.one_in(2)) {
            const int next = map(plan.checked(at).height, plan.checked(at).width, deep);
            any_unary(random, plan, at, next);
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
                table.wy.push_back(y % 2 && !codes ? 0.5f : 0.f);
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
    for (int made : model.maps) {
        const int id = as_floats(plan, made);
        const Map m = plan.checked(id);
        plan.output(id, {m.width, 1, static_cast<int64_t>(m.height) * m.width});
        if (random.one_in(2)) break;
    }
    plan.seal(random.one_in(2));
    return model;
}

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
            for (int x = 0; x < m.width; x++) {
                const float* pixel = state.pixel(id, y, x);
                const auto* codes = reinterpret_cast<const uint8_t*>(pixel);
                for (int c = 0; c < m.depth(); c++) values.push_back(m.codes ? static_cast<float>(codes[c]) : pixel[c]);
            }
    }
    return values;
}


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

}  // namespace reconv::testing
