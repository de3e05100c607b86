#include "stale.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace reconv {
namespace {

uint64_t last_mask(int width) { return ~uint64_t{0} >> ((64 - (width & 63)) & 63); }

// dst |= src moved by `shift` columns towards 0 (negative: away from 0)
void or_shifted(const uint64_t* src, int src_words, int shift, uint64_t* dst, int dst_words) {
    const int words = shift >= 0 ? shift / 64 : -((-shift + 63) / 64);
    const int bits = shift - words * 64;  // 0 .. 63
    for (int i = 0; i < dst_words; i++) {
        const int low = i + words, high = low + 1;
        uint64_t v = 0;
        if (low >= 0 && low < src_words) v = src[low] >> bits;
        if (bits && high >= 0 && high < src_words) v |= src[high] << (64 - bits);
        dst[i] |= v;
    }
}

// every second bit of v, packed into the low half
uint64_t even_bits(uint64_t v) {
    v &= 0x5555555555555555u;
    v = (v | v >> 1) & 0x3333333333333333u;
    v = (v | v >> 2) & 0x0f0f0f0f0f0f0f0fu;
    v = (v | v >> 4) & 0x00ff00ff00ff00ffu;
    v = (v | v >> 8) & 0x0000ffff0000ffffu;
    return (v | v >> 16) & 0x00000000ffffffffu;
}

bool unite_row(const Bits& in, int y, uint64_t* row) {
    const uint64_t* source = in.row(y);
    uint64_t any = 0;
    for (int i = 0; i < in.row_words; i++) {
        row[i] |= source[i];
        any |= source[i];
    }
    return any != 0;
}

}  // namespace

void Bits::clear() const { std::memset(words, 0, sizeof(uint64_t) * height * row_words); }

void Bits::fill() const {
    for (int y = 0; y < height; y++) {
        std::memset(row(y), 0xff, sizeof(uint64_t) * row_words);
        row(y)[row_words - 1] &= last_mask(width);
    }
}

bool Bits::any() const {
    const int64_t n = static_cast<int64_t>(height) * row_words;
    for (int64_t i = 0; i < n; i++)
        if (words[i]) return true;
    return false;
}

int64_t Bits::count() const {
    const int64_t n = static_cast<int64_t>(height) * row_words;
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) total += std::popcount(words[i]);
    return total;
}

void Bits::unite(const Bits& other) const {
    const int64_t n = static_cast<int64_t>(height) * row_words;
    for (int64_t i = 0; i < n; i++) words[i] |= other.words[i];
}

void spread(const Bits& in, const Bits& out, const Window& w, std::span<uint64_t> scratch) {
    if (w.pointwise() && in.height == out.height && in.width == out.width) return out.unite(in);
    const int n = in.row_words;
    // the shifted row is as long as the widest reach of the strided output
    const int reach = std::max(n, words_for(out.width * w.stride_x)) + 1;
    uint64_t *rows = scratch.data(), *wide = rows + n;
    for (int y = 0; y < out.height; y++) {
        std::fill(rows, rows + n, 0);
        bool any = false;
        for (int k = 0; k < w.kernel_y; k++) {
            const int source = y * w.stride_y - w.pad_y + k * w.dilation_y;
            if (source >= 0 && source < in.height) any |= unite_row(in, source, rows);
        }
        if (!any) continue;
        uint64_t* target = out.row(y);
        if (w.stride_x == 1) {
            for (int k = 0; k < w.kernel_x; k++) or_shifted(rows, n, k * w.dilation_x - w.pad_x, target, out.row_words);
        } else {
            std::fill(wide, wide + reach, 0);
            for (int k = 0; k < w.kernel_x; k++) or_shifted(rows, n, k * w.dilation_x - w.pad_x, wide, reach);
            if (w.stride_x == 2) {
                for (int i = 0; i < out.row_words; i++) {
                    const uint64_t high = 2 * i + 1 < reach ? even_bits(wide[2 * i + 1]) : 0;
                    target[i] |= even_bits(wide[2 * i]) | high << 32;
                }
            } else {
                for (int x = 0; x < out.width; x++) {
                    const int from = x * w.stride_x;
                    target[x >> 6] |= (wide[from >> 6] >> (from & 63) & 1) << (x & 63);
                }
            }
        }
        target[out.row_words - 1] &= last_mask(out.width);
    }
}

void spread(const Bits& in, const Bits& out, const Taps& taps, std::span<uint64_t> scratch) {
    uint64_t* rows = scratch.data();
    for (int y = 0; y < out.height; y++) {
        std::fill(rows, rows + in.row_words, 0);
        const bool first = unite_row(in, taps.y0[y], rows), second = unite_row(in, taps.y1[y], rows);
        if (!first && !second) continue;
        uint64_t* target = out.row(y);
        const auto bit = [rows](int x) { return rows[x >> 6] >> (x & 63) & 1; };
        for (int x = 0; x < out.width; x++) target[x >> 6] |= (bit(taps.x0[x]) | bit(taps.x1[x])) << (x & 63);
    }
}

int64_t collect_runs(const Bits& bits, int first, int last, std::vector<Run>& runs) {
    int64_t total = 0;
    for (int y = first; y < last; y++) {
        const uint64_t* row = bits.row(y);
        int open = -1;  // start of a run that reached the end of the last word
        for (int i = 0; i < bits.row_words; i++) {
            uint64_t word = row[i];
            int at = 0;
            while (at < 64) {
                if (open < 0) {
                    if (!word) break;
                    const int skip = std::countr_zero(word);
                    word = skip ? word >> skip : word;
                    at += skip;
                    open = i * 64 + at;
                }
                const int ones = std::countr_one(word);
                at += ones;
                if (at >= 64) break;
                runs.push_back({y, open, i * 64 + at, total});
                total += i * 64 + at - open;
                open = -1;
                word >>= ones;
            }
        }
        if (open >= 0) {
            runs.push_back({y, open, bits.width, total});
            total += bits.width - open;
        }
    }
    return total;
}

}  // namespace reconv
