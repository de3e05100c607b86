// Frames of bytes against the frames of floats that they stand for: the same bits in all maps, the same pixels recomputed.
#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "memory.hpp"
#include "testing.hpp"

namespace reconv::testing {
namespace {

struct Picture {  // (height, width, channels), its channels together
    int height, width, channels;
    std::vector<uint8_t> bytes;
};

struct Laid {  // the same in the middle of other bytes, as a crop or a mirrored view has it
    std::vector<uint8_t> bytes;
    ByteFrame frame;
};

Laid lay(Random& random, const Picture& p) {
    const int wide = p.channels + random.whole(0, 1), across = p.width + random.whole(0, 2);
    const bool mirrored = random.one_in(4), planes = random.one_in(4), plain = random.one_in(3);
    Laid laid;
    const ptrdiff_t pixel = plain ? p.channels : planes ? 1 : wide, channel = planes && !plain ? static_cast<ptrdiff_t>(p.height) * across : 1;
    const ptrdiff_t row = plain ? p.width * p.channels : planes ? across : static_cast<ptrdiff_t>(across) * wide;
    const ptrdiff_t last = (p.height - 1) * row + (p.width - 1) * pixel + (p.channels - 1) * channel;
    laid.bytes.assign(static_cast<size_t>(last) + 1, 77);  // not one more: a sanitizer sees what is read beyond
    laid.frame = {laid.bytes.data(), row, pixel, channel};
    if (mirrored) laid.frame = {laid.bytes.data() + (p.width - 1) * pixel, row, -pixel, channel};
    for (int y = 0; y < p.height; y++)
        for (int x = 0; x < p.width; x++)
            for (int c = 0; c < p.channels; c++)
                const_cast<uint8_t*>(laid.frame.data)[y * laid.frame.row + x * laid.frame.pixel + c * laid.frame.channel] =
                    p.bytes[(static_cast<size_t>(y) * p.width + x) * p.channels + c];
    return laid;
}

std::vector<float> floats_of(const Picture& p, const Border& border, std::span<const float> table, std::span<const int32_t> order) {
    std::vector<float> values(p.bytes.size());
    for (int y = 0; y < p.height; y++)
        for (int x = 0; x < p.width; x++)
            for (int c = 0; c < p.channels; c++)
                values[y * border.strides[0] + x * border.strides[1] + c * border.strides[2]] =
                    table[c * 256 + p.bytes[(static_cast<size_t>(y) * p.width + x) * p.channels + order[c]]];
    return values;
}

void edit(Random& random, Picture& p, const std::vector<Picture>& before) {
    const int first = random.whole(0, static_cast<int>(p.bytes.size()) - 1);
    switch (random.whole(0, 5)) {
        case 0: p = before[static_cast<size_t>(random.whole(0, static_cast<int>(before.size()) - 1))]; break;
        case 1:
            for (uint8_t& b : p.bytes) b = static_cast<uint8_t>(random.whole(0, 255));
            break;
        case 2:
            for (uint8_t& b : p.bytes) b = static_cast<uint8_t>(std::clamp(b + random.whole(-1, 1), 0, 255));
            break;
        case 3: p.bytes[first] ^= 1; break;
        default:
            for (size_t i = first; i < p.bytes.size() && i < first + 9u; i++) p.bytes[i] = static_cast<uint8_t>(random.whole(0, 255));
    }
}

// The arithmetic of pictures: scaled, and then shifted where there is a mean.
std::vector<float> scales(Random& random, int channels) {
    std::vector<float> table;
    const bool shifted = random.one_in(2);
    for (int c = 0; c < channels; c++) {
        const float factor = random.pick({1.f, -1.f, 1.f / 255, 1.f / 58.395f, 0.3f}), shift = shifted ? random.normal() : 0.f;
        for (int b = 0; b < 256; b++) {
            const float scaled = static_cast<float>(b) * factor;  // this file contracts nothing
            table.push_back(shifted ? scaled - shift : scaled);
        }
    }
    return table;
}

bool same_sets(const State& a, const State& b) {
    const auto same = [](const Bits& x, const Bits& y) {
        return std::equal(x.words, x.words + static_cast<ptrdiff_t>(x.height) * x.row_words, y.words);
    };
    bool all = same(a.stale(a.plan().inputs()[0].map), b.stale(a.plan().inputs()[0].map));
    for (int op = 0; op < static_cast<int>(a.plan().ops().size()); op++) all = all && same(a.todo(op), b.todo(op));
    return all;
}

std::vector<float> dense_outputs(State& state, const float* source, const ByteFrame* frame) {
    const Plan& plan = state.plan();
    const std::span<const ByteFrame> frames(frame, frame ? 1 : 0);
    if (!plan.memory()->work.stores) {
        state.step({&source, 1}, {}, frames);
        return outputs_of(state);
    }
    std::vector<std::vector<float>> arrays;
    std::vector<float*> targets;
    for (const Border& border : plan.outputs()) {
        const Map& m = plan.checked(border.map);
        targets.push_back(arrays.emplace_back(static_cast<size_t>(m.height) * m.width * m.channels).data());
    }
    state.step({&source, 1}, targets, frames);
    std::vector<float> values;
    for (const auto& array : arrays) values.insert(values.end(), array.begin(), array.end());
    return values;
}

template <class F>
bool refused(F f) {
    try {
        f();
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}

void check_refusals(const Plan& plan, State& state, int channels) {
    const Map& m = plan.checked(plan.inputs()[0].map);
    const ByteFrame frame{reinterpret_cast<const uint8_t*>("x"), 0, 0, 0};
    const float* none = nullptr;
    std::vector<float> table(static_cast<size_t>(channels) * 256, 1.f);
    std::vector<int32_t> order(static_cast<size_t>(channels), 0);
    check(refused([&] { state.step({&none, 1}, {}, {&frame, 1}); }), "a frame without a table is refused");
    check(refused([&] { state.set_table(0, std::span(table).first(255), order); }), "a table that is too short is refused");
    check(refused([&] { state.set_table(0, table, std::span(order).first(0)); }), "an order that is too short is refused");
    table[7] = INFINITY;
    check(refused([&] { state.set_table(0, table, order); }), "a table that is not finite is refused");
    table[7] = 0.f, order[0] = channels;
    check(refused([&] { state.set_table(0, table, order); }), "an order beyond the channels is refused");
    check(state.bytes() == plan.state_bytes(false) && m.channels == channels, "refusals take no memory");
}

}  // namespace

void test_frames(uint64_t seed, const std::string& isa) {
    Random random(seed);
    Model model = make_model(random, isa);
    if (model.plan->checked(model.plan->inputs()[0].map).channels > kMostByteChannels) {
        State wide(model.plan, std::make_shared<Threads>(1), false, 0.f);
        const int channels = model.plan->checked(model.plan->inputs()[0].map).channels;
        const std::vector<float> table(static_cast<size_t>(channels) * 256);
        const std::vector<int32_t> order(static_cast<size_t>(channels));
        check(refused([&] { wide.set_table(0, table, order); }), "more than 4 channels are refused");
        model = make_ladder(random, isa);
    }
    const Plan& plan = *model.plan;
    const Border& border = plan.inputs()[0];
    const Map& m = plan.checked(border.map);
    const bool scaled = random.one_in(2);
    std::vector<float> table = scaled ? scales(random, m.channels) : random.normals(static_cast<int64_t>(m.channels) * 256);
    std::vector<int32_t> order;
    for (int c = 0; c < m.channels; c++) order.push_back(random.whole(0, m.channels - 1));
    if (random.one_in(2)) std::iota(order.begin(), order.end(), 0);
    if (random.one_in(2) && m.channels >= 3) order[0] = 2, order[1] = 1, order[2] = 0;
    std::vector<int32_t> plain(order.size());
    std::iota(plain.begin(), plain.end(), 0);
    bool usual = order == plain;
    if (m.channels >= 3) std::swap(plain[0], plain[2]), usual = usual || order == plain;
    std::vector<Picture> pictures{{m.height, m.width, m.channels, std::vector<uint8_t>(static_cast<size_t>(m.height) * m.width * m.channels, 9)}};
    for (int i = 0; i < 9; i++) {
        pictures.push_back(pictures.back());
        edit(random, pictures.back(), pictures);
    }
    const auto team = std::make_shared<Threads>(random.whole(1, 3));
    const float tolerance = random.pick({0.f, 0.02f, 0.3f});
    State floats(model.plan, team, false, tolerance), bytes(model.plan, team, false, tolerance), dense(model.plan, team, true, 0.f);
    check_refusals(plan, bytes, m.channels);
    const auto tell = [&] {
        for (State* state : {&bytes, &dense}) state->set_table(0, table, order);
    };
    tell();
    check(bytes.scales(0) == (scaled && usual && m.channels >= 3), "a table that is a scale and a shift is seen to be one");
    const int64_t more = static_cast<int64_t>(2 * pictures[0].bytes.size() + table.size() * 4);
    for (const Picture& p : pictures) {
        const std::vector<float> values = floats_of(p, border, table, order);
        const float *source = values.data(), *none = nullptr;
        const Laid laid = lay(random, p);
        floats.step({&source, 1});
        if (random.one_in(5)) bytes.step({&source, 1});
        else bytes.step({&none, 1}, {}, {&laid.frame, 1});
        const std::string where = " of plan " + std::to_string(seed) + " on " + isa;
        check(same_bits(values_of(bytes, model.maps), values_of(floats, model.maps)), "maps from bytes" + where);
        check(same_bits(outputs_of(bytes), outputs_of(floats)), "outputs from bytes" + where);
        check(same_sets(bytes, floats), "pixels recomputed from bytes" + where);
        check(bytes.recomputed_macs() == floats.recomputed_macs() && bytes.was_dense() == floats.was_dense(), "work from bytes" + where);
        check(bytes.bytes() == plan.state_bytes(false) + more, "bytes of a state that takes bytes");
        check(same_bits(dense_outputs(dense, nullptr, &laid.frame), dense_outputs(dense, source, nullptr)), "a dense-only run from bytes" + where);
        switch (random.whole(0, 9)) {
            case 0: floats.reset(), bytes.reset(); break;
            case 1: {
                const float other = random.pick({0.f, 0.05f, 0.5f});
                floats.set_tolerance(other), bytes.set_tolerance(other);
                break;
            }
            case 2: {
                const std::vector<float> weights(static_cast<size_t>(m.channels), random.pick({0.f, 1.f, 50.f}));
                floats.set_weights(border.map, weights), bytes.set_weights(border.map, weights);
                break;
            }
            case 3:  // other floats for the same bytes
                for (float& v : table) v = random.one_in(3) ? random.normal() : v;
                tell();
                break;
            default: break;
        }
    }
}

}  // namespace reconv::testing
