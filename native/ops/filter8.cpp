#include "filter8.hpp"

#include <algorithm>
#include <cstring>

namespace reconv {
namespace {

constexpr int kPiece = 64;  // values of a row that are taken to codes, or back, at a time

bool fits_kernels(const ActivationSpec& spec) { return static_cast<int>(spec.kind) < kFusedActivations; }

Finish8 finish_of(const Conv8Params& p, bool whole, bool makes_codes) {
    Finish8 f;
    if (!whole) {  // the reals as they are; the rest is done in rows of floats
        f.codes = false;
        return f;
    }
    f.activation = p.activation.kind, f.low = p.activation.a, f.high = p.activation.b;
    f.codes = makes_codes, f.inverse = p.out.inverse(), f.zero = p.out.zero;
    if (p.residual < 0) return f;
    if (p.coded_sum) f.inner_inverse = p.sum.inverse(), f.inner_scale = p.sum.scale, f.inner_zero = p.sum.zero;
    f.residual_scale = p.residual_coding.scale, f.residual_zero = p.residual_coding.zero;
    f.after = p.after.kind, f.after_low = p.after.a, f.after_high = p.after.b;
    return f;
}

}  // namespace

CodesFilter::CodesFilter(int x, int kernel_y, int kernel_x, const Conv8Params& p, bool makes_codes)
    : Filter(x, kernel_y, kernel_x, p), coded_(p), makes_codes_(makes_codes) {
    // without a residual there is nothing to be done after the activation
    whole_ = fits_kernels(p.activation) && (p.residual >= 0 ? fits_kernels(p.after) : p.after.kind == Activation::none);
    finish_ = finish_of(p, whole_, makes_codes);
}

void CodesFilter::open(const Task& task, Block& block, Tiles8* tiles) const {
    BlockArgs8& args = block.args;
    args.finish = &finish_;
    args.tiles = tiles ? &tiles->set : nullptr;
    args.has_residual = whole_ && params_.residual >= 0;
    if (!args.has_residual) return;
    for (int m = 0; m < block.pixels; m++)
        args.residual[m] = reinterpret_cast<const uint8_t*>(task.memory.pixel(params_.residual, block.y[m], block.x[m]));
}

int32_t CodesFilter::start_of(const Weights8& weights, int channel) const {
    const auto [outputs, inputs, kernel_y, kernel_x] = weights.shape;
    const int64_t taken = static_cast<int64_t>(inputs) * kernel_y * kernel_x;
    int64_t sum = 0;
    for (int8_t w : weights.values.subspan(static_cast<size_t>(channel * taken), static_cast<size_t>(taken))) sum += w;
    return static_cast<int32_t>((weights.bias.empty() ? 0 : weights.bias[channel]) - coded_.x.zero * sum);
}

// Channels [first, first + count) of a pixel whose reals are in `values`: what the kernels have left, down to the reals that
// are to become codes.
void CodesFilter::complete_row(const Task& task, float* values, const uint8_t* residual, int first, int count) const {
    const Kernels8& codes = *task.kernels->codes;
    task.kernels->activate(values, count, from_channel(params_.activation, first));
    for (int c = 0; residual && c < count; c += kPiece) {
        const int piece = std::min(kPiece, count - c);
        uint8_t coded[kPiece + kSlack8];
        float added[kPiece];
        if (coded_.coded_sum) {
            codes.quantize_row(coded, values + c, piece, coded_.sum.inverse(), coded_.sum.zero);
            codes.dequantize_row(values + c, coded, piece, coded_.sum.scale, coded_.sum.zero);
        }
        codes.dequantize_row(added, residual + first + c, piece, coded_.residual_coding.scale, coded_.residual_coding.zero);
        for (int i = 0; i < piece; i++) values[c + i] += added[i];
    }
    task.kernels->activate(values, count, from_channel(params_.after, first));
}

void CodesFilter::finish(const Task& task, Block& block, bool direct) const {
    if (direct && coded_.table.empty()) return;
    const Kernels& kernels = *task.kernels;
    const auto [first, last] = channels_of(task);
    const int channels = last - first;
    for (uint32_t left = whole_ ? 0 : block.wanted; left; left &= left - 1) {
        const int m = __builtin_ctz(left);
        float* values = static_cast<float*>(block.args.out[m]) + first;
        const float* residual = params_.residual < 0 ? nullptr : task.memory.pixel(params_.residual, block.y[m], block.x[m]);
        complete_row(task, values, reinterpret_cast<const uint8_t*>(residual), first, channels);
        for (int c = 0; !coded_.factor.empty() && c < channels; c++) values[c] *= coded_.factor[static_cast<size_t>(first + c)];
        // codes go to the front of their row, behind which no float is wanted any more
        uint8_t* const to = static_cast<uint8_t*>(block.args.out[m]) + first;
        for (int c = 0; makes_codes_ && c < channels; c += kPiece) {
            uint8_t coded[kPiece];
            const int piece = std::min(kPiece, channels - c);
            kernels.codes->quantize_row(coded, values + c, piece, coded_.out.inverse(), coded_.out.zero);
            std::memcpy(to + c, coded, static_cast<size_t>(piece));
        }
    }
    for (int m = 0; m < block.pixels && !coded_.table.empty();) {  // neighbours in one go
        auto* const from = static_cast<uint8_t*>(block.args.out[m]) + first;
        int64_t count = channels;
        while (++m < block.pixels && first == 0 && block.args.out[m] == from + count) count += channels;
        look_up(kernels, from, count);
    }
    if (direct) return;
    // From rows of scratch to the map, in floats or in codes.
    const auto store = [&]<class T>(T, const auto& put, const auto& cut) {
        T *fresh[kMaxPixels8], *stored[kMaxPixels8];
        for (uint32_t left = block.wanted; left; left &= left - 1) {  // the others have no place in the map
            const int m = __builtin_ctz(left);
            fresh[m] = static_cast<T*>(block.args.out[m]) + first;
            stored[m] = reinterpret_cast<T*>(block.stored[m]) + first;
        }
        if (!task.cutoff.compare) return put(block.wanted, fresh, stored, channels);
        if (const uint32_t moved = cut(block.wanted, fresh, stored)) set_moved(task, block, moved);
    };
    const Cutoff& cutoff = task.cutoff;
    if (makes_codes_)  // tolerances of maps of codes are in codes
        store(uint8_t{}, kernels.codes->put8, [&](uint32_t wanted, uint8_t* const* fresh, uint8_t* const* stored) {
            return kernels.codes->cut8(wanted, fresh, stored, channels, cutoff.weights, cutoff.limit, 1.f);
        });
    else
        store(float{}, kernels.put, [&](uint32_t wanted, float* const* fresh, float* const* stored) {
            return kernels.cut(wanted, fresh, stored, channels, cutoff.weights, cutoff.limit);
        });
}

}  // namespace reconv
