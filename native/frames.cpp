// Frames of bytes: what turns them into floats, what a stream keeps of them, and the rows of a step.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "state.hpp"

namespace reconv {
namespace {

// Whether the 256 floats are byte * factor - shift, each operation rounded: a picture's usual arithmetic.
bool is_scale(std::span<const float> table, float factor, float shift) {
    for (int b = 0; b < 256; b++) {
        const float value = static_cast<float>(b) * factor - shift;
        if (std::memcmp(&value, &table[b], sizeof value) != 0) return false;
    }
    return true;
}

// The factor, if there is one: the table's ends tell it up to some roundings.
bool find_scale(std::span<const float> table, float& factor, float& shift) {
    shift = 0.f - table[0];
    const auto near = static_cast<float>((static_cast<double>(table[255]) - table[0]) / 255);
    for (const float end : {INFINITY, -INFINITY}) {
        factor = near;
        for (int step = 0; step < 64; step++, factor = std::nextafter(factor, end))
            if (is_scale(table, factor, shift)) return true;
    }
    return false;
}

}  // namespace

// Equal bytes give equal floats, and those were compared with the same stored pixel in the last step: it was stored then, or
// it was within the tolerance, and it still is. So pixels with the bytes of the last frame need no look. This rests on what
// forgets the bytes: other weights, another table, a frame of floats, and every step that fails; a dense step takes all pixels.
// The mirror holds from a dense step on, and of an exact stream from any frame of bytes, until floats come or another table.
void State::set_table(int input, std::span<const float> table, std::span<const int32_t> order) {
    const Map& m = plan_->checked(plan_->inputs().at(input).map);
    if (m.channels > kMostByteChannels) throw std::invalid_argument("a frame of bytes has 1 to 4 channels");
    const auto channels = static_cast<size_t>(m.channels);
    if (table.size() != channels * 256) throw std::invalid_argument("the table is (channels, 256)");
    if (order.size() != channels) throw std::invalid_argument("one source channel per channel is needed");
    // a pixel that is not finite would always be stale
    if (!std::all_of(table.begin(), table.end(), [](float v) { return std::isfinite(v); }))
        throw std::invalid_argument("the table's values must be finite");
    if (!std::all_of(order.begin(), order.end(), [&](int c) { return c >= 0 && c < m.channels; }))
        throw std::invalid_argument("the order names channels that a frame does not have");
    byte_inputs_.resize(plan_->inputs().size());
    ByteInput& in = byte_inputs_[static_cast<size_t>(input)];
    std::vector<float> values(table.begin(), table.end());
    if (!dense_only_ && in.kept.empty()) {
        std::vector<uint8_t> kept(static_cast<size_t>(m.height) * m.width * channels), mirror(kept.size());
        in.kept = std::move(kept), in.mirror = std::move(mirror);  // both or none
        bytes_ += static_cast<int64_t>(in.kept.size() + in.mirror.size());
    }
    if (in.table.empty()) bytes_ += static_cast<int64_t>(values.size() * 4);
    in.table = std::move(values);
    std::copy(order.begin(), order.end(), in.order.begin());
    in.kept_now = in.mirrored = in.shifted = false;
    in.swapped = order[0] != 0;
    in.scales = channels >= 3 && order[0] == (in.swapped ? 2 : 0) && order[1] == 1 && order[2] == (in.swapped ? 0 : 2) &&
                (channels == 3 || order[3] == 3);
    for (size_t c = 0; c < channels && in.scales; c++) {
        float factor, shift;
        in.scales = find_scale(std::span(in.table).subspan(c * 256, 256), factor, shift);
        in.shifted = in.shifted || shift != 0.f;
        for (size_t i = c; i < 64 * channels; i += channels) in.factors[i] = factor, in.shifts[i] = shift;
    }
}

void State::check_frames(std::span<const ByteFrame> frames) const {
    if (frames.empty()) return;
    if (frames.size() != plan_->inputs().size()) throw std::invalid_argument("one frame per input is needed, or none");
    for (size_t i = 0; i < frames.size(); i++)
        if (frames[i].data && (i >= byte_inputs_.size() || byte_inputs_[i].table.empty()))
            throw std::invalid_argument("input " + std::to_string(i) + " has no table for bytes");
}

// What is kept is compared with in this step; the rows of this step put the next in its place.
void State::turn_frames(std::span<const ByteFrame> frames) {
    frames_ = frames;
    for (size_t i = 0; i < byte_inputs_.size(); i++) {
        ByteInput& in = byte_inputs_[i];
        const bool has = !in.kept.empty() && has_frame(static_cast<int>(i));
        in.known = in.kept_now && !was_dense_;
        in.kept_now = has;
        in.mirrors = has && in.mirrored && !was_dense_;
        in.fills = has && !in.mirrors && (was_dense_ || tolerance_ == 0.f);  // then the frame is what is stored
        in.mirrored = in.mirrors || in.fills;
    }
}

void State::forget_frames() {
    for (ByteInput& in : byte_inputs_) in.kept_now = false;
}

bool State::load_bytes(int input, int first, int last, float* scratch) {
    const int map = plan_->inputs()[input].map;
    const Map& m = memory_.map(map);
    const ByteFrame& frame = frames_[static_cast<size_t>(input)];
    ByteInput& in = byte_inputs_[static_cast<size_t>(input)];
    bool differs = false;
    for (int y = first; y < last; y++) {
        const ptrdiff_t at = static_cast<ptrdiff_t>(y) * m.width * m.channels;
        const ByteRow row{frame.data + y * frame.row, frame.pixel, frame.channel, in.kept.empty() ? nullptr : in.kept.data() + at, in.known,
                          in.mirrors || in.fills ? in.mirror.data() + at : nullptr, in.mirrors, in.table.data(), in.order.data(),
                          in.scales ? in.factors.data() : nullptr, in.shifted ? in.shifts.data() : nullptr, in.swapped,
                          memory_.pixel(map, y, 0), static_cast<ptrdiff_t>(m.pixel_stride), m.width, m.channels, scratch};
        differs |= plan_->kernels().byte_row(row, was_dense_ ? nullptr : weights_of(map), tolerance_ * tolerance_, was_dense_,
                                             dense_only_ ? nullptr : stale_[m.stale].row(y));
    }
    return differs;
}

}  // namespace reconv
