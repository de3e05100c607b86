// What a frame brings: its rows beside the stored ones, as floats or as bytes. Included by kernels_impl.hpp.
#pragma once

template <int C>
INLINE void gather_pixels(const InputRow& row, float* out) {
    for (int x = 0; x < row.width; x++)
        for (int c = 0; c < C; c++) out[x * C + c] = row.source[x + c * row.source_channel];
}

// the row of the frame with its channels together
INLINE const float* interleaved(const InputRow& row, float* out) {
    if (row.source_channel == 1 && row.source_pixel == row.channels) return row.source;
    if (row.source_pixel == 1) {
        switch (row.channels) {
            case 1: gather_pixels<1>(row, out); return out;
            case 2: gather_pixels<2>(row, out); return out;
            case 3: gather_pixels<3>(row, out); return out;
            case 4: gather_pixels<4>(row, out); return out;
            default: break;
        }
    }
    for (int x = 0; x < row.width; x++)
        for (int c = 0; c < row.channels; c++)
            out[static_cast<ptrdiff_t>(x) * row.channels + c] = row.source[x * row.source_pixel + c * row.source_channel];
    return out;
}

typedef uint32_t word __attribute__((may_alias));

// weighted squared changes of `pixels` neighbouring pixels of C channels, summed over the channels
template <int C>
INLINE void squares(float* sums, const float* fresh, const float* stored, const float* weights, int pixels) {
    for (int x = 0; x < pixels; x++) {
        float s = 0.f;
        for (int c = 0; c < C; c++) {
            const float d = fresh[x * C + c] - stored[x * C + c];
            s += d * d * weights[c];
        }
        sums[x] = s;
    }
}

// not zero where one of the C channels of a pixel is another bit pattern or not finite
template <int C>
INLINE void changes(uint32_t* changed, const float* fresh, const float* stored, int pixels) {
    const auto* a = reinterpret_cast<const word*>(fresh);
    const auto* b = reinterpret_cast<const word*>(stored);
    for (int x = 0; x < pixels; x++) {
        uint32_t any = 0;
        for (int c = 0; c < C; c++) {
            const uint32_t v = a[x * C + c];
            any |= (v ^ b[x * C + c]) | ((v & 0x7f800000u) == 0x7f800000u);
        }
        changed[x] = any;
    }
}

// bit i set where flags[i] is 1, for the first `pixels` of them
INLINE uint64_t pack(const uint8_t (&flags)[64], int pixels) {
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) {  // eight bytes of 0 or 1 to eight bits
        uint64_t bytes;
        __builtin_memcpy(&bytes, flags + 8 * i, 8);
        word |= (bytes * 0x0102040810204080u >> 56) << (8 * i);
    }
    return word & ~uint64_t{0} >> (64 - pixels);
}

INLINE uint64_t moved_word(const float* fresh, const float* stored, int pixels, int channels, const float* weights,
                           float limit) {
    uint64_t word = 0;
    uint8_t flags[64];
    if (channels <= 4 && weights) {
        float sums[64] = {};
        switch (channels) {
            case 1: squares<1>(sums, fresh, stored, weights, pixels); break;
            case 2: squares<2>(sums, fresh, stored, weights, pixels); break;
            case 3: squares<3>(sums, fresh, stored, weights, pixels); break;
            default: squares<4>(sums, fresh, stored, weights, pixels); break;
        }
#if defined(__AVX512F__) && VL == 16
        for (int i = 0; i < 4; i++) {  // a NaN has moved
            const __mmask16 still = _mm512_cmp_ps_mask((__m512)load(sums + 16 * i), _mm512_set1_ps(limit), _CMP_LE_OQ);
            word |= static_cast<uint64_t>(static_cast<uint16_t>(~still)) << (16 * i);
        }
        return word & ~uint64_t{0} >> (64 - pixels);
#else
        for (int i = 0; i < 64; i++) flags[i] = !(sums[i] <= limit);  // a NaN has moved
        return pack(flags, pixels);
#endif
    }
    if (channels <= 4) {
        uint32_t changed[64] = {};
        switch (channels) {
            case 1: changes<1>(changed, fresh, stored, pixels); break;
            case 2: changes<2>(changed, fresh, stored, pixels); break;
            case 3: changes<3>(changed, fresh, stored, pixels); break;
            default: changes<4>(changed, fresh, stored, pixels); break;
        }
        for (int i = 0; i < 64; i++) flags[i] = changed[i] != 0;
        return pack(flags, pixels);
    }
    for (int i = 0; i < pixels; i++) {
        const float *a = fresh + static_cast<ptrdiff_t>(i) * channels, *b = stored + static_cast<ptrdiff_t>(i) * channels;
        const bool moved = weights ? beyond(a, b, channels, weights, limit) : differs(a, b, channels);
        word |= static_cast<uint64_t>(moved) << i;
    }
    return word;
}

// Up to 64 pixels of a frame with their channels together: stores those that moved, gives their bits. `before`: what is
// stored of them, null: to be read there. Rows of floats and of bytes share this very code, so that they decide alike to the
// last bit.
__attribute__((noinline)) uint64_t take_pixels(const float* fresh, const float* before, float* stored, ptrdiff_t stored_pixel, int pixels,
                                               int channels, const float* weights, float limit, bool all, float* copy) {
    const uint64_t every = ~uint64_t{0} >> (64 - pixels);
    const bool packed = stored_pixel == channels;
    uint64_t moved = every;
    if (!all) {
        if (!before && packed) before = stored;
        if (!before) {  // a frame that is written into a part of a wider map
            for (int i = 0; i < pixels; i++)
                __builtin_memcpy(copy + i * channels, stored + i * stored_pixel, static_cast<size_t>(channels) * 4);
            before = copy;
        }
        moved = differs(fresh, before, pixels * channels) ? moved_word(fresh, before, pixels, channels, weights, limit) : 0;
    }
    if (packed && moved == every) {
        __builtin_memcpy(stored, fresh, static_cast<size_t>(pixels) * channels * 4);
        return moved;
    }
    for (uint64_t left = moved; left; left &= left - 1) {
        const int i = __builtin_ctzll(left);
        float* to = stored + i * stored_pixel;
        const float* from = fresh + static_cast<ptrdiff_t>(i) * channels;
        for (int c = 0; c < channels; c++) to[c] = from[c];
    }
    return moved;
}

void input_row(const InputRow& row, const float* weights, float limit, bool all, uint64_t* bits) {
    const float* fresh = interleaved(row, row.scratch);
    float* copy = row.scratch + static_cast<ptrdiff_t>(row.width) * row.channels + 64;
    for (int x = 0, word = 0; x < row.width; x += 64, word++) {
        const int pixels = row.width - x < 64 ? row.width - x : 64;
        const uint64_t moved = take_pixels(fresh + static_cast<ptrdiff_t>(x) * row.channels, nullptr, row.stored + x * row.stored_pixel,
                                           row.stored_pixel, pixels, row.channels, weights, limit, all, copy);
        if (bits) bits[word] = moved;
    }
}

// out = the table's floats for bytes
template <int C>
INLINE void look_up(const ByteRow& row, const uint8_t* bytes, float* out, int pixels) {
    int order[C];
    for (int c = 0; c < C; c++) order[c] = row.order[c];
    for (int x = 0; x < pixels; x++)
        for (int c = 0; c < C; c++) out[x * C + c] = row.table[c * 256 + bytes[x * C + order[c]]];
}

typedef uint8_t sixteen __attribute__((vector_size(16), aligned(1), may_alias));

// As look_up, of 64 pixels of three or four channels whose table is a scale and a shift.
template <int C>
INLINE void scale_bytes(const ByteRow& row, const uint8_t* bytes, float* out) {
    constexpr int count = 64 * C, step = 16 / C * C;
    uint8_t taken[count + 16], turned[count + 16];
    if (row.swapped) {
        __builtin_memcpy(taken, bytes, count);
        for (int i = 0; i < count; i += step) {
            const sixteen v = *reinterpret_cast<const sixteen*>(taken + i);
            *reinterpret_cast<sixteen*>(turned + i) =
                C == 3 ? __builtin_shufflevector(v, v, 2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 15)
                       : __builtin_shufflevector(v, v, 2, 1, 0, 3, 6, 5, 4, 7, 10, 9, 8, 11, 14, 13, 12, 15);
        }
        bytes = turned;
    }
    for (int i = 0; i < count; i++) out[i] = static_cast<float>(bytes[i]) * row.factors[i];
    if (!row.shifts) return;
    asm volatile("" : : : "memory");  // the product is rounded
    for (int i = 0; i < count; i++) out[i] -= row.shifts[i];
}

INLINE void floats_of(const ByteRow& row, const uint8_t* bytes, float* out, int pixels) {
    const bool scaled = row.factors && pixels == 64;
    switch (row.channels) {
        case 1: return look_up<1>(row, bytes, out, pixels);
        case 2: return look_up<2>(row, bytes, out, pixels);
        case 3: return scaled ? scale_bytes<3>(row, bytes, out) : look_up<3>(row, bytes, out, pixels);
        default: return scaled ? scale_bytes<4>(row, bytes, out) : look_up<4>(row, bytes, out, pixels);
    }
}

template <int C>
INLINE void gather_bytes(const ByteRow& row, uint8_t* out) {
    for (int x = 0; x < row.width; x++)
        for (int c = 0; c < C; c++) out[x * C + c] = row.source[x * row.source_pixel + c * row.source_channel];
}

// kept = the bytes of the pixels that moved
INLINE void keep_moved(uint8_t* kept, const uint8_t* bytes, uint64_t moved, int pixels, int channels) {
    if (moved == ~uint64_t{0} >> (64 - pixels)) {
        __builtin_memcpy(kept, bytes, static_cast<size_t>(pixels) * channels);
        return;
    }
    for (; moved; moved &= moved - 1) {
        const int i = __builtin_ctzll(moved) * channels;
        for (int c = 0; c < channels; c++) kept[i + c] = bytes[i + c];
    }
}

bool byte_row(const ByteRow& row, const float* weights, float limit, bool all, uint64_t* bits) {
    const int channels = row.channels, most = (row.width < 64 ? row.width : 64) * channels;
    float *fresh = row.scratch, *before = fresh + most;
    const uint8_t* source = row.source;
    if (row.source_channel != 1 || row.source_pixel != channels) {
        auto* gathered = reinterpret_cast<uint8_t*>(before + most);
        switch (channels) {
            case 1: gather_bytes<1>(row, gathered); break;
            case 2: gather_bytes<2>(row, gathered); break;
            case 3: gather_bytes<3>(row, gathered); break;
            default: gather_bytes<4>(row, gathered); break;
        }
        source = gathered;
    }
    if (row.known && !__builtin_memcmp(source, row.kept, static_cast<size_t>(row.width) * channels)) {
        if (bits) __builtin_memset(bits, 0, static_cast<size_t>((row.width + 63) / 64) * 8);
        return false;
    }
    for (int x = 0, word = 0; x < row.width; x += 64, word++) {
        const int pixels = row.width - x < 64 ? row.width - x : 64;
        const ptrdiff_t first = static_cast<ptrdiff_t>(x) * channels;
        float* stored = row.stored + x * row.stored_pixel;
        const size_t length = static_cast<size_t>(pixels) * channels;
        uint64_t moved = 0;
        if (!row.known || __builtin_memcmp(source + first, row.kept + first, length)) {
            floats_of(row, source + first, fresh, pixels);
            if (row.mirrors) floats_of(row, row.mirror + first, before, pixels);  // what is stored, and nearer
            moved = take_pixels(fresh, row.mirrors ? before : nullptr, stored, row.stored_pixel, pixels, channels, weights, limit, all, before);
            if (row.kept) __builtin_memcpy(row.kept + first, source + first, length);
            if (row.mirrors) keep_moved(row.mirror + first, source + first, moved, pixels, channels);
            else if (row.mirror) __builtin_memcpy(row.mirror + first, source + first, length);
        }
        if (bits) bits[word] = moved;
    }
    return true;
}
