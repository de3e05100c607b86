// Convolution of codes by tiles (AMX): sixteen pixels and a vector of channels in a tile of sums, 64 codes of a window at a
// time. Included by kernels8_impl.hpp for the set that has them.
#pragma once

constexpr int kRows = 16;    // pixels of a tile
constexpr int kChunk = 64;   // codes of a pixel that a tile takes
constexpr int kBatch = 8;    // chunks that are gathered together, where the pixels do not lie evenly

// Tiles 0 to 3 are sums, [group of pixels][vector]. A whole chunk of pixels is tile 4, of weights 6; what is left over at the end
// of a run 5 and 7. So only the length of that rest is a setting that changes.
struct alignas(64) TileSetting {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

// The compiler does not know what tiles read.
INLINE void written() { __asm__ volatile("" ::: "memory"); }

void set_tiles(int rest) {
    TileSetting setting;
    for (int i = 0; i < 8; i++) setting.row_bytes[i] = kChunk, setting.rows[i] = kRows;
    if (rest) {
        setting.row_bytes[5] = static_cast<uint16_t>(rest);
        setting.rows[7] = static_cast<uint8_t>(rest / 4);
    }
    written();
    _tile_loadconfig(&setting);
}

void release_tiles() { _tile_release(); }

// Up to sixteen pixels of a block.
struct Group {
    const uint8_t* const* addresses;  // of pairs, or of single pixels
    ptrdiff_t pair_stride, stride;    // stride: between neighbours, where they are even
    int count;
    bool single, even;                // even: whole and evenly spaced, read where they lie

    const uint8_t* pixel(int m) const { return single ? addresses[m] : addresses[m / 2] + (m % 2 ? pair_stride : 0); }
};

INLINE Group group_of(const BlockArgs8& args, bool single, int first, int count) {
    const int addresses = single ? kRows : kRows / 2;
    Group group{args.in + (single ? first : first / 2), args.pair_stride, 0, count - first < kRows ? count - first : kRows, single, false};
    if (group.count < kRows) return group;
    const ptrdiff_t step = group.addresses[1] - group.addresses[0];
    group.stride = single ? step : args.pair_stride;
    ptrdiff_t uneven = single ? 0 : step ^ (2 * args.pair_stride);
    for (int i = 2; i < addresses; i++) uneven |= (group.addresses[i] - group.addresses[i - 1]) ^ step;
    group.even = uneven == 0;
    return group;
}

#define PRODUCTS(sums, more_sums, pixels, weights) \
    _tile_loadd(weights, w, N * kChunk); \
    _tile_dpbusd(sums, pixels, weights); \
    if constexpr (N == 2) { \
        _tile_loadd(weights, w + kChunk, N * kChunk); \
        _tile_dpbusd(more_sums, pixels, weights); \
    }

template <int GROUPS, int N>
void tile_sums(const BlockArgs8& args, const Group* groups, int32_t* sums) {
    constexpr int row = N * VL;
    {
        const int32_t* from = args.resume ? args.partial : args.start;
        const ptrdiff_t stride = args.resume ? row * 4 : 0;  // no stride: the same line in all rows
        const ptrdiff_t second = args.resume ? kRows * row : 0;
        _tile_loadd(0, from, stride);
        if constexpr (N == 2) _tile_loadd(1, from + VL, stride);
        if constexpr (GROUPS == 2) {
            _tile_loadd(2, from + second, stride);
            if constexpr (N == 2) _tile_loadd(3, from + second + VL, stride);
        }
    }
    alignas(64) uint8_t gathered[GROUPS][kBatch][kRows][kChunk];
    const int8_t* w = args.weights;
    for (int tap = 0, c = 0; tap < args.tap_count;) {
        ptrdiff_t offset[kBatch];
        int taken[kBatch], count = 0;
        for (; count < kBatch && tap < args.tap_count; count++) {
            const int left = args.run - c;
            offset[count] = args.taps[tap] + c;
            taken[count] = left < kChunk ? left : kChunk;
            c += kChunk;
            if (left <= kChunk) c = 0, tap++;
        }
        for (int g = 0; g < GROUPS; g++) {
            if (groups[g].even) continue;
            for (int m = 0; m < groups[g].count; m++) {
                const uint8_t* from = groups[g].pixel(m);
                for (int k = 0; k < count; k++) _mm512_store_si512(gathered[g][k][m], _mm512_loadu_si512(from + offset[k]));
            }
        }
        written();
        for (int k = 0; k < count; k++) {
            const auto place = [&](int g) __attribute__((always_inline)) { return groups[g].even ? groups[g].addresses[0] + offset[k] : gathered[g][k][0]; };
            const auto apart = [&](int g) __attribute__((always_inline)) { return groups[g].even ? groups[g].stride : kChunk; };
            if (taken[k] == kChunk) {
                _tile_loadd(4, place(0), apart(0));
                PRODUCTS(0, 1, 4, 6)
                if constexpr (GROUPS == 2) {
                    _tile_loadd(4, place(1), apart(1));
                    PRODUCTS(2, 3, 4, 6)
                }
            } else {
                _tile_loadd(5, place(0), apart(0));
                PRODUCTS(0, 1, 5, 7)
                if constexpr (GROUPS == 2) {
                    _tile_loadd(5, place(1), apart(1));
                    PRODUCTS(2, 3, 5, 7)
                }
            }
            w += taken[k] * row;
        }
    }
    _tile_stored(0, sums, row * 4);
    if constexpr (N == 2) _tile_stored(1, sums + VL, row * 4);
    if constexpr (GROUPS == 2) {
        _tile_stored(2, sums + kRows * row, row * 4);
        if constexpr (N == 2) _tile_stored(3, sums + kRows * row + VL, row * 4);
    }
}

#undef PRODUCTS

template <int N>
void tile_conv(const BlockArgs8& args, bool single, int count) {
    Group groups[2];
    for (int g = 0; g * kRows < count; g++) groups[g] = group_of(args, single, g * kRows, count);
    int own = -1, &set = args.tiles ? *args.tiles : own;
    if (const int rest = args.run % kChunk; set < 0 || (rest && rest != set)) {
        set_tiles(rest);
        set = rest;
    }
    alignas(64) int32_t waiting[2 * kRows * N * VL];
    int32_t* sums = args.keep ? args.partial : waiting;
    if (count > kRows) tile_sums<2, N>(args, groups, sums);
    else tile_sums<1, N>(args, groups, sums);
    if (!args.tiles) release_tiles();
    if (!args.keep) finish_block(args, sums, count, N * VL, 0, args.channels);
}

template <bool SINGLE, int P, int N>
void tile_block(const BlockArgs8& args) { tile_conv<N>(args, SINGLE, 2 * P); }
