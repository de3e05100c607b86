// Random ops on maps of codes, and between them and maps of floats.
#include <cmath>

#include "models8.hpp"

namespace reconv::testing {
namespace {

int any_of(Random& random, const std::vector<int>& maps) { return maps[static_cast<size_t>(random.whole(0, static_cast<int>(maps.size()) - 1))]; }

std::vector<uint8_t> some_codes(Random& random, int count) {
    std::vector<uint8_t> codes(static_cast<size_t>(count));
    for (auto& code : codes) code = static_cast<uint8_t>(random.whole(0, 255));
    return codes;
}

ResizeTable nearest(Random& random, const Map& m, const Map& o) {
    ResizeTable table;
    for (int y = 0; y < o.height; y++) table.taps.y0.push_back(random.whole(0, m.height - 1));
    for (int x = 0; x < o.width; x++) table.taps.x0.push_back(random.whole(0, m.width - 1));
    table.taps.y1 = table.taps.y0, table.taps.x1 = table.taps.x0;
    table.wy.assign(static_cast<size_t>(o.height), 0.f), table.wx.assign(static_cast<size_t>(o.width), 0.f);
    return table;
}

}  // namespace

Coding coding_of(const Plan& plan, int map) {
    const int zero = static_cast<int>(plan.roots()[plan.checked(map).root].fill & 0xff);
    return {0.02f + 0.005f * static_cast<float>(zero % 7), zero};
}

int new_map(Random& random, Plan& plan, bool codes, int height, int width, int depth) {
    return codes ? plan.map8(height, width, depth, random.pick({0, 128, 255, random.whole(0, 255)})) : plan.map(height, width, depth);
}

int as_codes(Random& random, Plan& plan, int map) {
    const Map m = plan.checked(map);
    if (m.codes) return map;
    const int made = new_map(random, plan, true, m.height, m.width, m.depth());
    plan.quantize(map, made, coding_of(plan, made));
    return made;
}

int as_floats(Plan& plan, int map) {
    const Map m = plan.checked(map);
    if (m.codes == 0) return map;
    const int made = plan.map(m.height, m.width, m.depth());
    plan.dequantize(map, made, coding_of(plan, map));
    return made;
}

int pooled(Random& random, Plan& plan, int map) {
    const Map m = plan.checked(map);
    const int made = new_map(random, plan, m.codes > 0, 1, 1, m.depth());
    if (m.codes) plan.global_pool8(map, made, coding_of(plan, map), coding_of(plan, made), true);
    else plan.global_pool(map, made, random.pick({Global::average, Global::maximum, Global::sum}), true);
    return made;
}

void any_unary(Random& random, Plan& plan, int x, int out) {
    if (plan.checked(x).codes) plan.table8(x, out, some_codes(random, 256));
    else plan.unary(x, out, some_activation(random), {});
}

void any_conv(Random& random, Plan& plan, int x, int out, int kernel_y, int kernel_x, const ConvParams& params, bool cut) {
    const Map m = plan.checked(x), o = plan.checked(out);
    const int inner = m.depth() / params.groups, taken = inner * kernel_y * kernel_x;
    const int64_t count = static_cast<int64_t>(o.depth()) * taken;
    const std::array<int, 4> shape{o.depth(), inner, kernel_y, kernel_x};
    if (m.codes == 0) {
        const auto weight = random.normals(count, 1.2f / std::sqrt(static_cast<float>(taken)));
        plan.conv(x, out, weight, shape, random.normals(random.one_in(2) ? 0 : o.depth(), 0.2f), params, cut);
        return;
    }
    Conv8Params p;
    static_cast<ConvParams&>(p) = params;
    p.x = coding_of(plan, x), p.out = coding_of(plan, out);
    if (p.residual >= 0) p.residual_coding = coding_of(plan, p.residual);
    p.coded_sum = random.one_in(2);
    p.sum = {0.03f, random.whole(0, 255)};
    std::vector<int8_t> weight(static_cast<size_t>(count));
    for (auto& w : weight) w = static_cast<int8_t>(random.whole(-128, 127));
    std::vector<int32_t> bias(static_cast<size_t>(random.one_in(2) ? 0 : o.depth()));
    for (auto& b : bias) b = random.whole(-20'000, 20'000);
    // what comes out is spread over the codes
    std::vector<float> scale(static_cast<size_t>(o.depth()));
    for (auto& s : scale) s = 0.0002f * static_cast<float>(random.whole(1, 5)) / (p.x.scale * std::sqrt(static_cast<float>(taken)));
    for (int c = 0, scaled = o.codes && random.one_in(4); scaled && c < o.depth(); c++) p.factor.push_back(0.25f * static_cast<float>(random.whole(1, 8)));
    if (o.codes && random.one_in(4)) p.table = some_codes(random, 256);
    const auto shift = random.normals(random.one_in(3) ? o.depth() : 0, 0.2f);
    plan.conv8(x, out, {weight, shape, bias, scale, shift}, p, cut);
}

bool add_op8(Random& random, Model& model, int out) {
    Plan& plan = *model.plan;
    const Map o = plan.checked(out);
    std::vector<int> same, as_deep, whole, all, floats;
    for (int x : model.maps) {
        const Map& m = plan.checked(x);
        if (m.codes == 0) {
            if (m.same_pixels(o) && m.channels == o.depth()) floats.push_back(x);
            continue;
        }
        all.push_back(x);
        if (m.same_pixels(o) && m.codes == o.depth()) same.push_back(x);
        if (m.codes == o.codes) as_deep.push_back(x);
        if (m.view == View::whole && plan.roots()[m.root].halo_allowed) whole.push_back(x);
    }
    if (o.codes == 0 && !same.empty() && random.one_in(2)) {
        const int x = any_of(random, same);
        plan.dequantize(x, out, coding_of(plan, x));
        return true;
    }
    if (whole.empty()) {
        if (o.codes == 0) return false;
        const int x = as_codes(random, plan, model.maps.front());
        model.maps.push_back(x);
        whole.push_back(x);
    }
    const Coding to = coding_of(plan, out);
    switch (o.codes ? random.whole(0, 9) : 9) {
        case 0:
            if (floats.empty()) break;
            plan.quantize(any_of(random, floats), out, to);
            return true;
        case 1: {
            if (same.empty()) break;
            const int x = any_of(random, same);
            if (random.one_in(2)) plan.requantize(x, out, coding_of(plan, x), to);
            else any_unary(random, plan, x, out);
            return true;
        }
        case 2: {
            if (same.empty()) break;
            const int a = any_of(random, same), b = any_of(random, same);
            plan.binary8(a, b, out, random.pick({Binary::add, Binary::add, Binary::mul, Binary::max}), {coding_of(plan, a), coding_of(plan, b), to},
                         some_activation(random), {});
            return true;
        }
        case 3: {
            if (as_deep.empty()) break;
            const int x = any_of(random, as_deep);
            const Map m = plan.checked(x);
            plan.resize(x, out, nearest(random, m, o));
            return true;
        }
        case 4: {
            if (as_deep.empty()) break;
            const int x = any_of(random, as_deep);
            PoolParams p;
            p.window = {random.whole(1, 3), random.whole(1, 5), random.whole(1, 2), random.whole(1, 2), random.whole(0, 1), random.whole(0, 2), 1, random.whole(1, 2)};
            p.count_include_pad = random.one_in(2);
            if (random.one_in(2)) plan.max_pool(x, out, p, random.one_in(2));
            else plan.average_pool8(x, out, p, coding_of(plan, x), to, random.one_in(2));
            return true;
        }
        case 5: {
            if (all.empty()) break;
            const int x = any_of(random, all);
            const Map m = plan.checked(x);
            std::vector<int32_t> index(static_cast<size_t>(o.height) * o.width * o.codes);
            for (auto& i : index) i = random.whole(-1, m.height * m.width * m.codes - 1);
            plan.gather(x, out, std::move(index), 77.f);
            return true;
        }
        default: break;
    }
    add_conv(random, model, any_of(random, whole), out, true);
    return true;
}

}  // namespace reconv::testing
