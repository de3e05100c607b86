// The kernels on codes against plain loops, bit for bit: all remainders, sums that would saturate 16 bits, and nothing written
// beyond what was asked for.
#include "kernels/dispatch.hpp"
#include "plain8.hpp"

namespace reconv::testing {
namespace {

std::vector<int8_t> weights(Random& random, int64_t count, bool extreme) {
    std::vector<int8_t> values(static_cast<size_t>(count));
    const int sign = random.pick({-128, 127});
    for (int8_t& v : values) v = static_cast<int8_t>(extreme ? sign : random.one_in(2) ? random.whole(-128, 127) : random.pick({-128, -127, 0, 127}));
    return values;
}

Finish8 finish(Random& random) {
    Finish8 f;
    f.activation = kFused[random.whole(0, 3)];
    f.low = f.activation == Activation::leaky ? 0.1f : random.pick({0.f, -0.5f, -1e30f});
    f.high = random.pick({6.f, 0.7f, 1e30f, -0.5f, -3.f});
    f.codes = !random.one_in(4);
    f.inverse = 1.f / random.pick({0.02f, 0.013f, 0.5f});
    f.zero = random.pick({0, 1, 100, 128, 254, 255});
    if (random.one_in(2)) f.inner_inverse = 1.f / 0.03f, f.inner_scale = 0.03f, f.inner_zero = random.whole(0, 255);
    f.residual_scale = random.pick({0.02f, 0.3f});
    f.residual_zero = random.whole(0, 255);
    f.after = kFused[random.whole(0, 3)];
    f.after_low = f.after == Activation::leaky ? 0.2f : 0.f;
    f.after_high = random.pick({1e30f, 2.f});
    return f;
}

// Where a block's pixels lie and what is expected of them; the same for dense and depthwise kernels.
struct Pixels {
    static constexpr int kApart = 2000;  // bytes between neighbours: more than any window
    int count;
    std::vector<uint8_t> input, residual;
    std::vector<uint8_t> out;     // `room` bytes for each pixel
    std::vector<int> at;          // each pixel's first byte
    int room, first_channel;
    BlockArgs8 args{};

    Pixels(Random& random, bool single, int pairs, int channels, const Finish8& f, bool extreme)
        : count(2 * pairs), first_channel(random.pick({0, 4, 16})) {
        const int stride = random.pick({4, 60, kApart});
        input = codes(random, (count + 3) * kApart + kSlack8, extreme);
        const int total = first_channel + channels + 5;
        residual = codes(random, int64_t{count} * total + kSlack8);
        room = total * (f.codes ? 1 : 4);
        out.assign(static_cast<size_t>(count) * room, 0xa5);
        args.pair_stride = stride;
        args.has_residual = random.one_in(2);
        const bool even = random.one_in(2);  // or scattered
        for (int m = 0; m < count; m++) {
            if (even) at.push_back(m * stride);
            else at.push_back(single || m % 2 == 0 ? random.whole(0, count) * kApart + 4 * random.whole(0, 9) : at.back() + stride);
            if (single) args.in[m] = input.data() + at[m];
            else if (m % 2 == 0) args.in[m / 2] = input.data() + at[m];
            args.out[m] = out.data() + static_cast<ptrdiff_t>(m) * room;
            args.residual[m] = residual.data() + static_cast<ptrdiff_t>(m) * total;
        }
        args.first_channel = first_channel;
        args.channels = channels;
        args.finish = &f;
    }

    // `sum` of pixel m and channel c
    template <class Sum>
    bool as_expected(const std::vector<float>& scale, const std::vector<float>& shift, const std::vector<float>& factor, Sum sum) const {
        const Finish8& f = *args.finish;
        std::vector<uint8_t> expected(out.size(), 0xa5);
        for (int m = 0; m < count; m++)
            for (int c = 0; c < args.channels; c++) {
                const uint8_t* other = args.has_residual ? args.residual[m] + first_channel + c : nullptr;
                const float real = plain_real(sum(m, c), scale[static_cast<size_t>(c)], shift[static_cast<size_t>(c)], args.factor ? factor[static_cast<size_t>(c)] : 1.f, f, other);
                uint8_t* to = expected.data() + static_cast<ptrdiff_t>(m) * room;
                if (f.codes) to[first_channel + c] = static_cast<uint8_t>(plain_code(real, f.inverse, f.zero));
                else std::memcpy(to + (first_channel + c) * 4, &real, 4);
            }
        return out == expected;
    }
};

// --- convolutions

bool conv_agrees(const Kernels8& kernels, Random& random, bool single, int pairs, int vectors) {
    const bool extreme = random.one_in(4);
    const Finish8 f = finish(random);
    const int columns = vectors * kernels.width, used = random.whole((vectors - 1) * kernels.width + 1, columns);
    const int channels = random.pick({random.whole(1, 12), random.whole(1, 70), random.whole(60, 200)}), row = (channels + 3) / 4 * 4;
    const int taps = random.pick({1, random.whole(1, 9)});
    const auto weight = weights(random, int64_t{used} * channels * taps, extreme);
    std::vector<int8_t> packed(static_cast<size_t>(taps) * row * columns + kSlack8);
    kernels.pack_conv(packed.data(), weight.data(), used, columns, taps, channels, row);
    std::vector<int32_t> start(static_cast<size_t>(columns), 0), partial(static_cast<size_t>(2) * kernels.pairs * columns);
    for (int c = 0; c < used; c++) start[static_cast<size_t>(c)] = random.whole(-100000, 100000);
    std::vector<float> scale, shift, factor;
    for (int c = 0; c < columns; c++) factor.push_back(0.5f + 0.1f * static_cast<float>(random.whole(0, 20)));
    for (int c = 0; c < columns; c++) scale.push_back(0.0001f * static_cast<float>(random.whole(1, 20))), shift.push_back(random.normal());

    Pixels pixels(random, single, pairs, used, f, extreme);
    std::vector<ptrdiff_t> offsets;
    const int apart = row + random.pick({0, 8});
    for (int t = 0; t < taps; t++) offsets.push_back(t * apart);
    BlockArgs8& args = pixels.args;
    args.run = row;
    args.start = start.data();
    args.scale = scale.data();
    args.shift = shift.data();
    args.factor = f.codes && random.one_in(3) ? factor.data() : nullptr;
    args.partial = partial.data();
    Tiles8 tiles(kernels);
    args.tiles = random.one_in(2) ? &tiles.set : nullptr;
    for (int from = 0; from < taps;) {  // in parts
        const int to = random.whole(from + 1, taps);
        args.taps = offsets.data() + from;
        args.tap_count = to - from;
        args.weights = packed.data() + static_cast<ptrdiff_t>(from) * row * columns;
        args.resume = from > 0;
        args.keep = to < taps;
        kernels.conv[single][pairs][vectors - 1](args);
        from = to;
    }
    return pixels.as_expected(scale, shift, factor, [&](int m, int c) {
        int sum = start[static_cast<size_t>(c)];
        for (int t = 0; t < taps; t++)
            for (int i = 0; i < channels; i++)
                sum += pixels.input[static_cast<size_t>(pixels.at[m] + offsets[static_cast<size_t>(t)] + i)] *
                       weight[static_cast<size_t>((c * channels + i) * taps + t)];
        return sum;
    });
}

bool depthwise_agrees(const Kernels8& kernels, Random& random, bool single, int pairs) {
    const bool extreme = random.one_in(4);
    const Finish8 f = finish(random);
    const int channels = random.pick({random.whole(1, 12), random.whole(1, 70), random.whole(60, 200)});
    const int width = random.whole(1, 5), height = random.pick({1, width}), taps = width * height;
    const auto weight = weights(random, int64_t{channels} * taps, extreme);
    std::vector<int8_t> packed(static_cast<size_t>(kernels.depthwise_bytes(channels, taps)) + kSlack8);
    kernels.pack_depthwise(packed.data(), weight.data(), channels, taps);
    const int room = kernels.depthwise_padded(channels);
    std::vector<int32_t> start, starts(static_cast<size_t>(room));
    for (int c = 0; c < channels; c++) start.push_back(random.whole(-100000, 100000));
    std::vector<float> scale, shift, factor, scales(static_cast<size_t>(room)), shifts(static_cast<size_t>(room)), factors(static_cast<size_t>(room));
    for (int c = 0; c < channels; c++) factor.push_back(0.5f + 0.1f * static_cast<float>(random.whole(0, 20)));
    for (int c = 0; c < channels; c++) scale.push_back(0.0001f * static_cast<float>(random.whole(1, 20))), shift.push_back(random.normal());
    kernels.arrange(starts.data(), start.data(), channels);
    kernels.arrange(scales.data(), scale.data(), channels);
    kernels.arrange(shifts.data(), shift.data(), channels);
    kernels.arrange(factors.data(), factor.data(), channels);

    Pixels pixels(random, single, pairs, channels, f, extreme);
    std::vector<ptrdiff_t> offsets;
    const int step = random.pick({4, 8, static_cast<int>(pixels.args.pair_stride) % 64});  // neighbours share taps, or not
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) offsets.push_back(y * 68 + x * step);
    BlockArgs8& args = pixels.args;
    args.taps = offsets.data();
    args.tap_count = taps;
    args.weights = packed.data();
    args.start = starts.data();
    args.scale = scales.data();
    args.shift = shifts.data();
    args.factor = f.codes && random.one_in(3) ? factors.data() : nullptr;
    kernels.depthwise[single][pairs](args);
    return pixels.as_expected(scale, shift, factor, [&](int m, int c) {
        int sum = start[static_cast<size_t>(c)];
        for (int t = 0; t < taps; t++)
            sum += pixels.input[static_cast<size_t>(pixels.at[m] + offsets[static_cast<size_t>(t)] + c)] *
                   weight[static_cast<size_t>(c * taps + t)];
        return sum;
    });
}

void test_filters(const Kernels8& kernels, Random& random) {
    for (int single = 0; single < 2; single++)
        for (int pairs = 1; pairs <= kernels.pairs; pairs++)
            for (int i = 0; i < 40; i++) {
                const std::string block = std::string(" of ").append(std::to_string(pairs)).append(" pairs, ").append(kernels.name);
                for (int vectors = 1; vectors <= 2; vectors++)
                    check(conv_agrees(kernels, random, single, pairs, vectors), "convolution" + block);
                check(depthwise_agrees(kernels, random, single, pairs), "depthwise convolution" + block);
            }
}

// --- kernels that are wrong

const Kernels8* right = nullptr;

void one_too_many(const BlockArgs8& args) {
    right->conv[0][1][0](args);
    if (!args.keep) static_cast<uint8_t*>(args.out[0])[(args.first_channel + args.channels) * (args.finish->codes ? 1 : 4)] ^= 1;
}

void saturating(const BlockArgs8& args) {  // sums of neighbours in 16 bits, as a multiply-add of bytes makes them
    const int lanes = right->width, steps = args.tap_count * args.run / 4;
    std::vector<int32_t> sums(static_cast<size_t>(2) * lanes);
    for (int m = 0; m < 2; m++)
        for (int l = 0; l < lanes; l++) {
            int sum = args.resume ? args.partial[m * lanes + l] : args.start[l];
            for (int s = 0; s < steps; s++)
                for (int h = 0; h < 2; h++) {
                    const uint8_t* x = args.in[0] + m * args.pair_stride + args.taps[s * 4 / args.run] + s * 4 % args.run + 2 * h;
                    const int8_t* w = args.weights + (s * lanes + l) * 4 + 2 * h;
                    sum += std::clamp(x[0] * w[0] + x[1] * w[1], -32768, 32767);
                }
            sums[static_cast<size_t>(m * lanes + l)] = sum;
        }
    BlockArgs8 rest = args;  // no more taps: only the finish
    rest.tap_count = 0;
    rest.resume = true;
    rest.partial = args.keep ? args.partial : sums.data();
    if (args.keep) std::copy(sums.begin(), sums.end(), args.partial);
    else right->conv[0][1][0](rest);
}

void test_checker(const Kernels8& kernels, Random& random) {
    right = &kernels;
    for (const BlockKernel8 wrong : {one_too_many, saturating}) {
        Kernels8 spoiled = kernels;
        spoiled.conv[0][1][0] = wrong;
        int caught = 0;
        for (int i = 0; i < 40; i++) caught += !conv_agrees(spoiled, random, false, 1, 1);
        check(caught > 4, "a wrong kernel is caught");
    }
}

}  // namespace

void test_kernels8(uint64_t seed, const std::string& isa) {
    Random random(seed);
    const Kernels8& kernels = *kernels_of(isa).codes;
    check(isa == kernels.name, "the set's own kernels on codes");
    test_filters(kernels, random);
    test_rows8(kernels, random);
    test_checker(kernels, random);
}

// The fused silu is a formula of its own: near enough to the real one to give its codes.
void test_silu8() {
    double worst = 0.;
    for (float x = -20.f; x < 20.f; x += 0.001f) {
        const double exact = x / (1. + std::exp(-static_cast<double>(x)));
        worst = std::max(worst, std::abs(plain_silu(x) - exact) / std::max(std::abs(exact), 1e-30));
    }
    check(worst < 2e-6, "silu on codes is within 2e-6 of the exact one");
    for (float x : {-1e30f, -200.f, 200.f, 1e30f}) check(std::abs(plain_silu(x) - std::max(x, 0.f)) <= std::max(x, 0.f) * 1e-6f + 1e-6f, "silu far out");
}

}  // namespace reconv::testing
