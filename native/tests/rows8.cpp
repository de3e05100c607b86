// Rows of codes against plain loops, bit for bit: to and from floats, tables, sums of two maps, pooling, cutoff.
#include "plain8.hpp"

namespace reconv::testing {
namespace {

std::vector<float> padded(std::vector<float> values, int count) {
    values.resize(static_cast<size_t>(count), 0.f);
    return values;
}

// Runs `kernel` on a row of `count` values and compares it with `plain`, and what lies behind the row with what was there.
template <class T, class Kernel, class Plain>
void check_row(int count, const char* name, Kernel kernel, Plain plain) {
    std::vector<T> out(static_cast<size_t>(count) + 70, T{7}), expected = out;
    kernel(out.data());
    for (int i = 0; i < count; i++) expected[static_cast<size_t>(i)] = plain(i);
    check(std::memcmp(out.data(), expected.data(), out.size() * sizeof(T)) == 0, std::string(name) + " of " + std::to_string(count));
}

void test_rows(const Kernels8& k, Random& random) {
    for (int count = 0; count < 150; count++) {
        auto reals = random.normals(count, 5.f);
        for (float& v : reals)
            if (random.one_in(20)) v = random.pick({NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0.5f, 1.5f, -0.f});
        const auto a = codes(random, count), b = codes(random, count);
        const float scale = random.pick({1.f, 0.02f, 0.5f}), other = random.pick({0.013f, 0.5f}), inverse = 1.f / scale;
        const int zero = random.pick({0, 3, 128, 255}), second = random.whole(0, 255);
        const auto at = [](const auto& row, int i) { return row[static_cast<size_t>(i)]; };
        const auto real = [](int code, float s, int z) { return static_cast<float>(code - z) * s; };
        const auto byte = [](int code) { return static_cast<uint8_t>(code); };
        check_row<uint8_t>(count, "quantize", [&](uint8_t* out) { k.quantize_row(out, reals.data(), count, inverse, zero); },
                           [&](int i) { return byte(plain_code(at(reals, i), inverse, zero)); });
        check_row<float>(count, "dequantize", [&](float* out) { k.dequantize_row(out, a.data(), count, scale, zero); },
                         [&](int i) { return real(at(a, i), scale, zero); });
        check_row<uint8_t>(count, "requantize", [&](uint8_t* out) { k.requantize_row(out, a.data(), count, other, second, inverse, zero); },
                           [&](int i) { return byte(plain_code(real(at(a, i), other, second), inverse, zero)); });
        const auto table = codes(random, 256);
        check_row<uint8_t>(count, "table", [&](uint8_t* out) { k.table_row(out, a.data(), count, table.data()); },
                           [&](int i) { return at(table, at(a, i)); });
        check_row<uint8_t>(count, "table in place", [&](uint8_t* out) {
            std::copy(a.begin(), a.end(), out);
            k.table_row(out, out, count, table.data());
        }, [&](int i) { return at(table, at(a, i)); });
        const Add8 add{scale, other, zero, second, kFused[random.whole(0, 3)], 0.1f, 6.f, 1.f / 0.03f, random.whole(0, 255)};
        check_row<uint8_t>(count, "add", [&](uint8_t* out) { k.add8(out, a.data(), b.data(), count, add); }, [&](int i) {
            const float left = real(at(a, i), scale, zero), right = real(at(b, i), other, second);
            return byte(plain_code(plain_activation(left + right, add.activation, add.low, add.high), add.inverse, add.zero));
        });
    }
}

void test_windows(const Kernels8& k, Random& random) {
    for (int channels = 1; channels < 150; channels++) {
        const int count = random.whole(1, 12), stride = channels + random.whole(0, 3);
        const auto rows = codes(random, int64_t{count} * stride);
        std::vector<const uint8_t*> in;
        for (int i = 0; i < count; i++) in.push_back(rows.data() + static_cast<ptrdiff_t>(i) * stride);
        const auto sum = [&](int c) {
            int total = 0;
            for (const uint8_t* row : in) total += row[c];
            return total;
        };
        const Average8 average{count * random.whole(0, 255), 0.02f / static_cast<float>(count), 1.f / 0.03f, random.whole(0, 255)};
        const auto mean = [&](int total) {
            return static_cast<uint8_t>(plain_code(static_cast<float>(total - average.offset) * average.scale, average.inverse, average.zero));
        };
        check_row<uint8_t>(channels, "maximum", [&](uint8_t* out) { k.max_window8(out, in.data(), count, channels); }, [&](int c) {
            uint8_t most = 0;
            for (const uint8_t* row : in) most = std::max(most, row[c]);
            return most;
        });
        check_row<uint8_t>(channels, "average", [&](uint8_t* out) { k.average_window8(out, in.data(), count, channels, average); },
                           [&](int c) { return mean(sum(c)); });
        std::vector<int32_t> sums(static_cast<size_t>(channels));
        for (int32_t& s : sums) s = random.whole(-9, 100000);
        const auto before = sums;
        check_row<int32_t>(channels, "sums", [&](int32_t* out) {
            std::copy(before.begin(), before.end(), out);
            k.sum_row8(out, rows.data(), count, stride, channels);
        }, [&](int c) { return before[static_cast<size_t>(c)] + sum(c); });
        check_row<uint8_t>(channels, "average of sums", [&](uint8_t* out) { k.average_row8(out, sums.data(), channels, average); },
                           [&](int c) { return mean(sums[static_cast<size_t>(c)]); });
    }
}

void test_cut(const Kernels8& k, Random& random) {
    for (int i = 0; i < 300; i++) {
        const int channels = random.whole(1, 80), pixels = random.whole(1, kMaxPixels8);
        auto fresh = codes(random, int64_t{pixels} * channels), stored = codes(random, int64_t{pixels} * channels);
        std::vector<float> weight;
        for (int c = 0; c < channels; c++) weight.push_back(static_cast<float>(random.whole(0, 3)));  // exact in any order
        weight = padded(weight, (channels + 15) / 16 * 16);
        for (int m = 0; m < pixels; m++)  // alike, apart from a code or none
            if (random.one_in(2)) {
                std::copy_n(fresh.begin() + m * channels, channels, stored.begin() + m * channels);
                if (random.one_in(2)) stored[static_cast<size_t>(m * channels + random.whole(0, channels - 1))] ^= 3;
            }
        const uint32_t wanted = static_cast<uint32_t>(random.whole(0, 0x7fffffff)) & (~uint32_t{0} >> (32 - pixels));
        const bool exact = random.one_in(2);
        const float scale = 0.5f, limit = random.pick({0.f, 1.f, 50.f});
        std::vector<uint8_t*> from, to;
        for (int m = 0; m < pixels; m++) from.push_back(fresh.data() + m * channels), to.push_back(stored.data() + m * channels);
        uint32_t expected = 0;
        auto after = stored, all = stored;
        for (int m = 0; m < pixels; m++) {
            if (!(wanted >> m & 1)) continue;
            float sum = 0.f;
            bool equal = true;
            for (int c = 0; c < channels; c++) {
                const int d = from[static_cast<size_t>(m)][c] - to[static_cast<size_t>(m)][c];
                equal = equal && d == 0;
                sum += static_cast<float>(d * d) * scale * scale * weight[static_cast<size_t>(c)];
            }
            std::copy_n(fresh.begin() + m * channels, channels, all.begin() + m * channels);
            if (exact ? equal : sum <= limit) continue;
            expected |= 1u << m;
            std::copy_n(fresh.begin() + m * channels, channels, after.begin() + m * channels);
        }
        const auto before = stored;
        check(k.cut8(wanted, from.data(), to.data(), channels, exact ? nullptr : weight.data(), limit, scale) == expected, "cut: what moved");
        check(stored == after, "cut: what is stored");
        stored = before;
        k.put8(wanted, from.data(), to.data(), channels);
        check(stored == all, "put");
    }
}

}  // namespace

void test_rows8(const Kernels8& kernels, Random& random) {
    test_rows(kernels, random);
    test_windows(kernels, random);
    test_cut(kernels, random);
}

}  // namespace reconv::testing
